# gcc and tcc: a program of several files, a shared library, a static one, a program that forks.
set -e
T=$(mktemp -d); cd $T
cat >lib.c <<'X'
#include <math.h>
static int calls; int called(void) { return ++calls; } double root(double x) { called(); return sqrt(x); }
X
cat >main.c <<'X'
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
double root(double); int called(void);
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv) {
    int v[1000]; for (int i = 0; i < 1000; i++) v[i] = i * 7919 % 1009;
    qsort(v, 1000, sizeof *v, compare); printf("%d %d %.4f %d\n", v[0], v[999], root(2), called());
    int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++) if (!fork()) { shared[i] = called(); _exit(0); }
    while (wait(0) > 0) continue;
    printf("%d %d %s %d\n", shared[0], shared[3], argc > 1 ? argv[1] : "-", called());
    void *h = dlopen("libm.so.6", RTLD_NOW); double (*f)(double) = h ? (double (*)(double))dlsym(h, "cbrt") : 0; if (f) printf("%.3f\n", f(27));
    char *big = malloc(50 << 20); memset(big, 1, 50 << 20); big = realloc(big, 100 << 20); printf("%d\n", big[(50 << 20) - 1]); free(big); return 0; }
X
gcc -O2 -Wall -fPIC -shared lib.c -o liblib.so -lm; gcc -O1 main.c -L. -llib -o dynamic -Wl,-rpath,$T; ./dynamic one
gcc -c lib.c main.c; ar rcs libs.a lib.o; gcc main.o libs.a -lm -o archived; ./archived two; nm archived | grep -c ' T '
echo 'int main(void) { int s = 0; for (int i = 0; i < 100; i++) s += i; return s == 4950 ? 0 : 1; }' >s.c; gcc -static -O0 s.c -o s; ./s && echo static; gcc -S -O2 s.c -o - | grep -c main
tcc -c lib.c -o t.o; tcc -o mixed s.c && ./mixed && echo tcc; gcc bad.c 2>&1 | grep -c error; echo 'int main( {' >bad.c; gcc bad.c 2>/dev/null || echo "rc $?"
cat >crash.c <<'X'
#include <stdio.h>
#define X(n) printf(#n " %d\n", n)
int main(void) { X(__STDC__); int *volatile p = 0; X((int)sizeof p); fflush(stdout); return *p; }
X
 gcc -g crash.c -o crash; ./crash || echo "rc $?"; readelf -l dynamic | grep -c LOAD; strip s; objdump -d s | grep -c ret >/dev/null && echo disassembled
cd /; rm -r $T
