# Large lists, forked: each child changes its part and reads all, the parent's stay as they were.
import os

words = ["word %d" % (i * 7919 % 200003) for i in range(200000)]
total = sum(map(len, words))
reader, writer = os.pipe()
children = []
for k in range(4):
    child = os.fork()
    if child == 0:
        for i in range(k * 50000, (k + 1) * 50000):
            words[i] = words[i] + " of child %d" % k
        words.sort()
        line = "%d %d %s %s\n" % (k, sum(map(len, words)), words[0], words[-1])
        os.write(writer, line.encode())
        os._exit(k)
    children.append(child)
os.close(writer)
said = b""
while True:
    part = os.read(reader, 4096)
    if not part:
        break
    said += part
print(sorted(said.decode().splitlines()))
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
print(sum(map(len, words)) == total, words[0], words[-1])
