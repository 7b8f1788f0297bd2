# stress-ng's memory stressors, with verification; each must have done something.
T=/tmp/stress; mkdir -p $T; cd $T
run() {
    stress-ng --temp-path $T --verify --metrics-brief "$@" >log 2>&1
    status=$?
    ops=$(awk '/metrc/ && $4 ~ /^[a-z-]+$/ && $5 ~ /^[0-9]+$/ { print $5 }' log | tail -1)
    bad=$(grep -c 'fail:' log)
    [ "$status" = 0 ] && [ "${ops:-0}" -gt 0 ] && [ "$bad" = 0 ] && echo "$1 ok" || { echo "$1 status $status ops ${ops:-none} fail $bad"; cat log >&2; }
}
run --vm 1 --vm-bytes 4M --vm-method all --vm-ops 30
run --fork 1 --fork-ops 50
run --vfork 1 --vfork-ops 50
run --bigheap 1 --bigheap-ops 200 --bigheap-growth 64K
run --brk 1 --brk-ops 500
run --malloc 1 --malloc-ops 500 --malloc-bytes 8M
run --mmapfork 1 --mmapfork-ops 2
run --mremap 1 --mremap-ops 20 --mremap-bytes 2M
run --mmap 1 --mmap-ops 5 --mmap-bytes 2M
run --madvise 1 --madvise-ops 5
run --stack 1 --stack-ops 3
run --mincore 1 --mincore-ops 50
run --msync 1 --msync-ops 5 --msync-bytes 1M
run --mlock 1 --mlock-ops 200
run --vm-rw 1 --vm-rw-ops 3 --vm-rw-bytes 1M
run --shm 1 --shm-ops 3 --shm-bytes 1M
run --pageswap 1 --pageswap-ops 10
run --remap 1 --remap-ops 2
run --copy-file 1 --copy-file-ops 3
run --wait 1 --wait-ops 20
cd /; rm -rf $T
