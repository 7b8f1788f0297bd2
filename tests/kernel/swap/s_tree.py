# A tree of forks, all of which live at once and write all over what they share.
import os

SIZE = 3 << 20
DEPTH = 4
data = bytearray(range(256)) * (SIZE // 256)


def grow(depth, name):
    """Children first; then write, wait for them, and look whether what was written is there."""
    global data
    if depth < DEPTH:
        children = []
        for k in (0, 1):
            child = os.fork()
            if child == 0:
                os._exit(grow(depth + 1, name * 2 + k))
            children.append(child)
    else:
        children = []
    for at in range(0, SIZE, 4096):
        data[at + name % 4096] = name % 251
    bad = 0
    for child in children:
        bad += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for at in range(0, SIZE, 4096):
        bad += data[at + name % 4096] != name % 251
        bad += data[at + 2000 - name] != (2000 - name) % 256
    return min(bad, 100)


print(grow(0, 1))
