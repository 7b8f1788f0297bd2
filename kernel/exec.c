/* SPDX-License-Identifier: MIT */
/*
 * execve: a program from a file into a new space.
 *
 * The new space is built completely, arguments on the stack included, before anything of the old
 * one is given up.  So there is no point of no return with an error behind it: whatever is wrong
 * with the file or with memory, the caller gets an error number and goes on.
 *
 * What a program file says is elf.c's; here are "#!" scripts, five deep at most as Linux has it,
 * and the stack with the arguments, from the top down:
 *
 *   the path given to execve, the environment's strings, the arguments' strings  (ascending)
 *   16 random bytes, "x86_64"
 *   auxiliary vector, environment pointers, argument pointers, argc   <- rsp, a multiple of 16
 */
#include "process.h"
#include "vfs.h"

enum {
    SCRIPT_DEPTH = 5,
    SCRIPT_LINE = 256,
    PREFIX_MAX = 2 * SCRIPT_DEPTH + 1,
    ARGUMENT_MAX = 128 << 10,
    ARGUMENTS_MAX = 2 << 20,
};

/* Everything that is under way; exec_cleanup gives up what is left in it. */
struct loading {
    const struct exec_request *request;
    struct inode *inode, *interpreter_inode;
    char *prefix[PREFIX_MAX]; /* argument strings that replace the program's argv[0] */
    unsigned prefix_count;
    bool script;
    struct elf elf, interpreter;
    struct mm *mm;
    char *buffer;               /* a page: file contents, strings */
    char *words;                /* a page: pointers on their way to the stack */
    char *exe;                  /* the program's absolute path */
    uint64_t argc, envc, bytes; /* strings with their zeros */
};

static char *string_copy(const char *from)
{
    size_t n = strlen(from) + 1;
    char *to = kmalloc(n);

    if (to)
        memcpy(to, from, n);
    return to;
}

static void exec_cleanup(struct loading *l)
{
    inode_put(l->inode);
    inode_put(l->interpreter_inode);
    for (unsigned i = 0; i < l->prefix_count; i++)
        kfree(l->prefix[i]);
    elf_close(&l->elf);
    elf_close(&l->interpreter);
    kfree(l->buffer);
    kfree(l->words);
    kfree(l->exe);
    if (l->mm)
        mm_put(l->mm);
}

/* ---- the file -------------------------------------------------------------------------------- */

static long program_open(struct inode **inode, const char *path)
{
    int error = 0;

    inode_put(*inode);
    *inode = inode_lookup(path, &error);
    return *inode ? inode_may_exec(*inode) : error;
}

/* The headers of the program and of the interpreter that it asks for. */
static long headers_read(struct loading *l)
{
    long error = elf_open(&l->elf, l->inode);

    if (!error)
        error = elf_interpreter(&l->elf, l->buffer);
    if (error <= 0)
        return error;
    error = program_open(&l->interpreter_inode, l->buffer);
    return error ? error : elf_open(&l->interpreter, l->interpreter_inode);
}

static bool prefix_push(struct loading *l, const char *text)
{
    char *copy = string_copy(text);

    if (!copy || l->prefix_count == PREFIX_MAX) {
        kfree(copy);
        return false;
    }
    for (unsigned i = l->prefix_count; i > 0; i--)
        l->prefix[i] = l->prefix[i - 1];
    l->prefix[0] = copy;
    l->prefix_count++;
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* Split "#! interpreter argument" in place; the interpreter, or null. */
static char *script_parse(char *line, char **argument)
{
    char *end = strchr(line, '\n'), *name = line + 2, *rest;

    if (!end)
        end = line + strlen(line);
    while (end > name && is_blank(end[-1]))
        end--;
    *end = 0;
    while (is_blank(*name))
        name++;
    for (rest = name; *rest && !is_blank(*rest); rest++)
        continue;
    if (*rest)
        *rest++ = 0;
    while (is_blank(*rest))
        rest++;
    *argument = *rest ? rest : NULL;
    return *name ? name : NULL;
}

/* Follow "#!" lines until l->inode is a program. */
static long script_resolve(struct loading *l)
{
    char line[SCRIPT_LINE + 1];

    for (unsigned depth = 0;; depth++) {
        char *interpreter, *argument;
        long n = inode_read(l->inode, line, SCRIPT_LINE, 0);

        if (n < 0)
            return n;
        line[n] = 0;
        if (n < 2 || line[0] != '#' || line[1] != '!')
            return 0;
        if (depth == SCRIPT_DEPTH)
            return -ELOOP;
        interpreter = script_parse(line, &argument);
        if (!interpreter)
            return -ENOEXEC;
        if (!l->script && !prefix_push(l, l->request->path))
            return -ENOMEM;
        l->script = true;
        if ((argument && !prefix_push(l, argument)) || !prefix_push(l, interpreter))
            return -ENOMEM;
        n = program_open(&l->inode, interpreter);
        if (n)
            return n;
    }
}

/* What /proc/PID/exe will say: where the path leads now, for it can be /proc/self/exe itself. */
static long program_name(struct loading *l)
{
    int error = 0;

    l->exe = path_resolve(l->script ? l->prefix[0] : l->request->path, &error);
    return l->exe ? 0 : error;
}

/* ---- the space ------------------------------------------------------------------------------- */

static long stack_map(struct loading *l)
{
    struct mm *mm = l->mm;
    vaddr_t stack = USER_HIGH - STACK_BYTES, guard = stack - STACK_GUARD;
    enum quire_status status;

    /* The guard is a region so that mmap does not put anything right below the stack. */
    status = quire_map(mm->space, &guard, STACK_GUARD, QUIRE_NONE, QUIRE_MAP_FIXED);
    if (status == QUIRE_OK) {
        status =
            quire_map(mm->space, &stack, STACK_BYTES, QUIRE_READ | QUIRE_WRITE, QUIRE_MAP_FIXED);
    }
    mm->stack_low = USER_HIGH - STACK_BYTES;
    mm->stack_high = USER_HIGH;
    return status == QUIRE_OK ? 0 : -ENOMEM;
}

static long space_load(struct loading *l)
{
    long error;

    l->mm = mm_create();
    if (!l->mm)
        return -ENOMEM;
    if (quire_space_create(quire, &l->mm->space) != QUIRE_OK) {
        l->mm->space = NULL;
        return -ENOMEM;
    }
    error = stack_map(l);
    if (!error)
        error = elf_load(&l->elf, l->mm->space, PROGRAM_PLACE, l->buffer);
    if (!error && l->interpreter_inode)
        error = elf_load(&l->interpreter, l->mm->space, 0, l->buffer);
    l->mm->brk_start = l->mm->brk_end = l->elf.end;
    return error;
}

/* ---- the arguments --------------------------------------------------------------------------- */

/* Bytes of a string in the program's memory, its 0 among them, or -E. */
static long user_length(struct loading *l, uintptr_t user)
{
    uint64_t length = 0;

    for (;;) {
        long n = copy_in_string(l->buffer, user + length, PAGE_SIZE);

        if (n >= 0)
            return (long)(length + (uint64_t)n + 1);
        if (n != -ENAMETOOLONG)
            return n;
        length += PAGE_SIZE;
        if (length >= ARGUMENT_MAX)
            return -E2BIG;
    }
}

/* Add the strings of a vector to *count and l->bytes. */
static long vector_measure(struct loading *l, uintptr_t vector, const char *const *kernel,
                           uint64_t *count)
{
    for (uint64_t i = 0; kernel && kernel[i]; i++) {
        l->bytes += strlen(kernel[i]) + 1;
        ++*count;
    }
    for (uint64_t i = 0; !kernel && vector; i++) {
        uint64_t string;
        long n;

        if (copy_in(&string, vector + i * 8, 8))
            return -EFAULT;
        if (!string)
            break;
        n = user_length(l, string);
        if (n < 0)
            return n;
        l->bytes += (uint64_t)n;
        ++*count;
        if (l->bytes + *count * 8 > ARGUMENTS_MAX)
            return -E2BIG;
    }
    return 0;
}

static long arguments_measure(struct loading *l)
{
    const struct exec_request *r = l->request;
    long error = vector_measure(l, r->argv, r->kernel_argv, &l->argc);

    if (!error)
        error = vector_measure(l, r->envp, r->kernel_envp, &l->envc);
    if (error)
        return error;
    for (unsigned i = 0; i < l->prefix_count; i++)
        l->bytes += strlen(l->prefix[i]) + 1;
    l->bytes += strlen(r->path) + 1;
    return 0;
}

/* The stack as it is written: strings upwards from `string`, words upwards from `word`. */
struct stack {
    struct loading *l;
    uint64_t string, string_end;
    uint64_t word, words; /* address of the buffered words, and how many they are */
};

static long stack_write(struct stack *s, uint64_t to, const void *from, size_t n)
{
    enum quire_status status = quire_write(s->l->mm->space, to, from, n, NULL);

    return status == QUIRE_OK ? 0 : -ENOMEM;
}

static long words_flush(struct stack *s)
{
    long error = s->words ? stack_write(s, s->word, s->l->words, s->words * 8) : 0;

    s->word += s->words * 8;
    s->words = 0;
    return error;
}

static long word_put(struct stack *s, uint64_t value)
{
    memcpy(s->l->words + s->words * 8, &value, 8);
    return ++s->words == PAGE_SIZE / 8 ? words_flush(s) : 0;
}

static long string_put(struct stack *s, const char *text, size_t n)
{
    long error;

    if (n > s->string_end - s->string)
        return -EFAULT; /* longer than it was when it was measured */
    error = stack_write(s, s->string, text, n);
    s->string += n;
    return error;
}

static long user_string_put(struct stack *s, uintptr_t user)
{
    for (;; user += PAGE_SIZE) {
        long n = copy_in_string(s->l->buffer, user, PAGE_SIZE);
        long error;

        if (n < 0 && n != -ENAMETOOLONG)
            return n;
        error = string_put(s, s->l->buffer, n >= 0 ? (size_t)n + 1 : PAGE_SIZE);
        if (error || n >= 0)
            return error;
    }
}

/* Strings `first`.. of a vector, and a pointer to each. */
static long vector_put(struct stack *s, uintptr_t vector, const char *const *kernel, uint64_t first,
                       uint64_t count)
{
    for (uint64_t i = first; i < count; i++) {
        uint64_t string;
        long error = word_put(s, s->string);

        if (error)
            return error;
        if (kernel) {
            error = string_put(s, kernel[i], strlen(kernel[i]) + 1);
        } else {
            error = copy_in(&string, vector + i * 8, 8);
            if (!error)
                error = user_string_put(s, string);
        }
        if (error)
            return error;
    }
    return 0;
}

enum { AUXILIARY_WORDS = 40, TAIL_BYTES = 32 };

static long auxiliary_put(struct stack *s, uint64_t random, uint64_t platform, uint64_t path)
{
    const struct loading *l = s->l;
    const uint64_t pairs[][2] = {
        {16, cpu_hwcap()},      /* HWCAP */
        {6, PAGE_SIZE},         /* PAGESZ */
        {17, TICKS_PER_SECOND}, /* CLKTCK */
        {3, l->elf.phdr},       /* PHDR */
        {4, l->elf.phentsize},
        {5, l->elf.phnum},
        {7, l->interpreter.base}, /* BASE */
        {8, 0},                   /* FLAGS */
        {9, l->elf.entry},
        {11, USER_ID}, /* UID, EUID, GID, EGID */
        {12, USER_ID},
        {13, USER_ID},
        {14, USER_ID},
        {23, 0}, /* SECURE */
        {26, 0}, /* HWCAP2 */
        {51, SIGNAL_STACK_MIN},
        {25, random},
        {31, path}, /* EXECFN */
        {15, platform},
        {0, 0},
    };
    _Static_assert(sizeof pairs == AUXILIARY_WORDS * 8, "stack_fill makes room for them");
    long error = 0;

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && !error; i++) {
        error = word_put(s, pairs[i][0]);
        if (!error)
            error = word_put(s, pairs[i][1]);
    }
    return error;
}

static long pointers_put(struct stack *s, uint64_t skip)
{
    struct loading *l = s->l;
    const struct exec_request *r = l->request;
    long error = 0;

    for (unsigned i = 0; i < l->prefix_count && !error; i++) {
        error = word_put(s, s->string);
        if (!error)
            error = string_put(s, l->prefix[i], strlen(l->prefix[i]) + 1);
    }
    if (!error)
        error = vector_put(s, r->argv, r->kernel_argv, skip, l->argc);
    if (!error)
        error = word_put(s, 0);
    l->mm->arg_end = l->mm->env_start = s->string;
    if (!error)
        error = vector_put(s, r->envp, r->kernel_envp, 0, l->envc);
    l->mm->env_end = s->string;
    return error ? error : word_put(s, 0);
}

static long stack_fill(struct loading *l, uint64_t *rsp)
{
    uint64_t skip = l->script && l->argc ? 1 : 0;
    uint64_t argc = l->argc - skip + l->prefix_count;
    uint64_t path_bytes = strlen(l->request->path) + 1;
    struct stack s = {.l = l, .string_end = USER_HIGH - 8};
    uint64_t tail, path;
    struct {
        uint8_t random[16];
        char platform[16];
    } fixed = {.platform = "x86_64"};
    long error;

    s.string = s.string_end - l->bytes;
    path = s.string_end - path_bytes;
    tail = (s.string - TAIL_BYTES) & ~UINT64_C(15);
    s.word = (tail - (1 + argc + 1 + l->envc + 1 + AUXILIARY_WORDS) * 8) & ~UINT64_C(15);
    *rsp = s.word;
    l->mm->arg_start = s.string;
    random_fill(fixed.random, sizeof fixed.random);
    error = word_put(&s, argc);
    if (!error)
        error = pointers_put(&s, skip);
    if (!error)
        error = auxiliary_put(&s, tail, tail + 16, path);
    if (!error)
        error = words_flush(&s);
    if (!error)
        error = stack_write(&s, tail, &fixed, sizeof fixed);
    return error ? error : stack_write(&s, path, l->request->path, path_bytes);
}

/* ---- the switch ------------------------------------------------------------------------------ */

static void process_replace(struct loading *l, uint64_t rsp)
{
    struct proc *p = current;
    struct mm *old = p->mm;
    const char *name = strrchr(l->request->path, '/');

    p->mm = l->mm;
    l->mm = NULL;
    quire_space_activate(quire, p->mm->space);
    vfork_release(p);
    if (old)
        mm_put(old);
    files_exec(p->files);
    signals_exec(p->signals);
    strlcpy(p->name, name ? name + 1 : l->request->path, sizeof p->name);
    kfree(p->exe);
    p->exe = l->exe;
    l->exe = NULL;
    p->clear_child_tid = 0;
    p->set_child_tid = 0;
    p->fs_base = 0;
    cpu_set_fs(0);
    fpu_clean(p->fpu);
    fpu_load(p->fpu);
    *p->frame = (struct trap_frame){
        .rip = l->interpreter_inode ? l->interpreter.entry : l->elf.entry,
        .cs = SELECTOR_USER_CODE,
        .rflags = RFLAGS_FIXED | RFLAGS_IF,
        .rsp = rsp,
        .ss = SELECTOR_USER_DATA,
        .vector = SYSCALL_VECTOR,
    };
}

long exec_program(const struct exec_request *request)
{
    struct loading l = {.request = request};
    uint64_t rsp = 0;
    long error;

    l.buffer = kmalloc(PAGE_SIZE);
    l.words = kmalloc(PAGE_SIZE);
    error = l.buffer && l.words ? program_open(&l.inode, request->path) : -ENOMEM;
    if (!error)
        error = script_resolve(&l);
    if (!error)
        error = program_name(&l);
    if (!error)
        error = headers_read(&l);
    if (!error)
        error = arguments_measure(&l);
    if (!error)
        error = space_load(&l);
    if (!error)
        error = stack_fill(&l, &rsp);
    if (!error)
        process_replace(&l, rsp);
    exec_cleanup(&l);
    return error;
}

long sys_execve(const uint64_t *a)
{
    char *path = kmalloc(PATH_MAX);
    long error;

    if (!path)
        return -ENOMEM;
    error = copy_in_string(path, a[0], PATH_MAX);
    if (error == 0)
        error = -ENOENT;
    if (error > 0) {
        error = exec_program(&(struct exec_request){.path = path, .argv = a[1], .envp = a[2]});
    }
    kfree(path);
    return error;
}
