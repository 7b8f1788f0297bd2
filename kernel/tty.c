/* SPDX-License-Identifier: MIT */
/*
 * The console: one terminal over the serial line, with Linux's line discipline.
 *
 * Characters arrive by interrupt (tty_input) and go into a ring with three positions that only
 * grow:
 *
 *     tail ...... ready ...... edit
 *      read next   end of what   end of what
 *                  may be read   was typed
 *
 * In canonical mode a character is appended at `edit`, where erase and kill take it back; the end
 * of a line moves `ready` up to it.  In raw mode the two are equal.  An end of file typed at the
 * end of some text is kept as a mark that is no character.  Signal characters go to the foreground
 * group.
 *
 * Whoever is in the terminal's session but not in its foreground group is stopped by reading
 * (SIGTTIN) and by changing its settings (SIGTTOU), unless it refuses the signal.
 */
#include "vfs.h"

enum {
    /* c_iflag, c_oflag, c_lflag */
    ICRNL = 0400,
    INLCR = 0100,
    IGNCR = 0200,
    ISTRIP = 040,
    IXON = 02000,
    OPOST = 1,
    ONLCR = 4,
    ISIG = 1,
    ICANON = 2,
    ECHO = 010,
    ECHOE = 020,
    ECHOK = 040,
    ECHONL = 0100,
    NOFLSH = 0200,
    TOSTOP = 0400,
    ECHOCTL = 01000,
    ECHOKE = 04000,
    IEXTEN = 0100000,
    /* c_cflag: 38400 baud, 8 bits, receiver on, hang up on last close, no modem lines */
    CFLAGS = 017 | 060 | 0200 | 02000 | 04000,
    /* c_cc */
    VINTR = 0,
    VQUIT = 1,
    VERASE = 2,
    VKILL = 3,
    VEOF = 4,
    VTIME = 5,
    VMIN = 6,
    VSUSP = 10,
    VEOL = 11,
    VWERASE = 14,
    VEOL2 = 16,
    CONTROLS = 19,
};

enum {
    TCGETS = 0x5401,
    TCSETS = 0x5402,
    TCSETSW = 0x5403,
    TCSETSF = 0x5404,
    TCSBRK = 0x5409,
    TCXONC = 0x540a,
    TCFLSH = 0x540b,
    TIOCSCTTY = 0x540e,
    TIOCGPGRP = 0x540f,
    TIOCSPGRP = 0x5410,
    TIOCOUTQ = 0x5411,
    TIOCGWINSZ = 0x5413,
    TIOCSWINSZ = 0x5414,
    FIONREAD = 0x541b,
    TIOCNOTTY = 0x5422,
    TIOCGSID = 0x5429,
};

/*
 * One call writes at most WRITE_MAX bytes: the line is slow and interrupts, the typed Ctrl-C among
 * them, are off meanwhile.
 */
enum { RING_SIZE = 4096, END_OF_FILE = 0x100, WRITE_MAX = 16384 };

struct termios {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line;
    uint8_t control[CONTROLS];
};

struct window_size {
    uint16_t rows, columns, x, y;
};

/* The one terminal. */
static struct {
    struct termios mode;
    struct window_size window;
    uint16_t ring[RING_SIZE];
    uint64_t tail, ready, edit;
    int sid, foreground; /* 0: none */
    struct waitq readers;
} tty = {
    .mode = {ICRNL | IXON,
             OPOST | ONLCR,
             CFLAGS,
             ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
             0,
             {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0}},
};

static bool mode_has(uint32_t lflag) { return (tty.mode.lflag & lflag) != 0; }

/* ---- output ---------------------------------------------------------------------------------- */

static void output(const char *bytes, size_t n)
{
    size_t from = 0;

    if ((tty.mode.oflag & OPOST) == 0 || (tty.mode.oflag & ONLCR) == 0) {
        console_write(bytes, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            console_write(bytes + from, i - from);
            console_write("\r\n", 2);
            from = i + 1;
        }
    }
    console_write(bytes + from, n - from);
}

/* Control characters show as ^X, two columns. */
static bool shows_as_two(int c)
{
    return mode_has(ECHOCTL) && (c < 32 || c == 127) && c != '\n' && c != '\t';
}

static void echo(int c)
{
    char text[2] = {(char)c, 0};

    if (!mode_has(ECHO) && !(c == '\n' && mode_has(ECHONL))) {
        return;
    }
    if (shows_as_two(c)) {
        text[0] = '^';
        text[1] = (char)(c ^ 0x40);
    }
    output(text, text[1] != 0 ? 2 : 1);
}

/* ---- input, from the interrupt handler ------------------------------------------------------- */

/* Take back the last character of the line being typed, on the screen too. */
static void erase_one(void)
{
    int c = tty.ring[--tty.edit % RING_SIZE];

    if (mode_has(ECHO) && c != END_OF_FILE) {
        for (int i = shows_as_two(c) ? 2 : 1; i > 0; i--) {
            output("\b \b", 3);
        }
    }
}

static void erase_word(void)
{
    while (tty.edit > tty.ready && tty.ring[(tty.edit - 1) % RING_SIZE] == ' ') {
        erase_one();
    }
    while (tty.edit > tty.ready && tty.ring[(tty.edit - 1) % RING_SIZE] != ' ') {
        erase_one();
    }
}

static void append(int c)
{
    if (tty.edit - tty.tail < RING_SIZE) {
        tty.ring[tty.edit++ % RING_SIZE] = (uint16_t)c;
    }
}

static void commit(void)
{
    tty.ready = tty.edit;
    wake_all(&tty.readers);
}

static bool is_control(int c, int which)
{
    return tty.mode.control[which] != 0 && c == tty.mode.control[which];
}

/* True if the character was a signal's. */
static bool input_signal(int c)
{
    int sig = is_control(c, VINTR)   ? SIGINT
              : is_control(c, VQUIT) ? SIGQUIT
              : is_control(c, VSUSP) ? SIGTSTP
                                     : 0;

    if (!mode_has(ISIG) || sig == 0) {
        return false;
    }
    echo(c);
    if (!mode_has(NOFLSH)) {
        tty.edit = tty.ready = tty.tail;
    }
    if (tty.foreground != 0) {
        signal_send_group(tty.foreground, sig);
    }
    return true;
}

static void input_canonical(int c)
{
    if (is_control(c, VERASE) || c == '\b') {
        if (tty.edit > tty.ready) {
            erase_one();
        }
    } else if (is_control(c, VKILL)) {
        while (tty.edit > tty.ready) {
            erase_one();
        }
    } else if (is_control(c, VWERASE)) {
        erase_word();
    } else if (is_control(c, VEOF)) {
        append(END_OF_FILE);
        commit();
    } else if (c == '\n' || is_control(c, VEOL) || is_control(c, VEOL2)) {
        echo(c);
        /* The last place is kept for the end of a line that is too long. */
        append(c);
        commit();
    } else if (tty.edit - tty.tail < RING_SIZE - 1) {
        echo(c);
        append(c);
    }
}

void tty_input(int c)
{
    c &= (tty.mode.iflag & ISTRIP) != 0 ? 0x7f : 0xff;
    if (c == '\r') {
        if ((tty.mode.iflag & IGNCR) != 0) {
            return;
        }
        c = (tty.mode.iflag & ICRNL) != 0 ? '\n' : c;
    } else if (c == '\n' && (tty.mode.iflag & INLCR) != 0) {
        c = '\r';
    }
    if (input_signal(c)) {
        return;
    }
    if (mode_has(ICANON)) {
        input_canonical(c);
    } else {
        echo(c);
        append(c);
        commit();
    }
}

/* ---- reading and writing --------------------------------------------------------------------- */

/* 0 if current may go on; otherwise its group has been sent `sig`, or it gets `refused`. */
static int background_check(int sig, int refused)
{
    if (tty.sid == 0 || current->sid != tty.sid || tty.foreground == 0 ||
        current->pgid == tty.foreground) {
        return 0;
    }
    if (signal_refused(sig)) {
        return refused;
    }
    signal_send_group(current->pgid, sig);
    return -EINTR;
}

/* Hand over what is ready: up to the end of a line in canonical mode. */
static long take(struct buffer *to, size_t n)
{
    bool canonical = mode_has(ICANON);
    size_t done = 0;

    while (done < n && tty.tail < tty.ready) {
        int c = tty.ring[tty.tail % RING_SIZE];
        uint8_t byte = (uint8_t)c;
        if (c == END_OF_FILE) {
            tty.tail++;
            if (canonical) {
                break;
            }
            continue;
        }
        if (buffer_put(to, &byte, 1) != 0) {
            return done > 0 ? (long)done : -EFAULT;
        }
        tty.tail++;
        done++;
        if (canonical && (c == '\n' || is_control(c, VEOL) || is_control(c, VEOL2))) {
            break;
        }
    }
    return (long)done;
}

static long tty_read(struct file *file, struct buffer *to, size_t n, uint64_t offset)
{
    uint64_t deadline = 0;

    (void)offset;
    if (n == 0) {
        return 0;
    }
    for (;;) {
        int e = background_check(SIGTTIN, -EIO);
        if (e != 0) {
            return e;
        }
        if (tty.tail < tty.ready) {
            return take(to, n);
        }
        if ((file->flags & O_NONBLOCK) != 0) {
            return -EAGAIN;
        }
        /* VMIN 0 in raw mode: wait VTIME tenths of a second at most. */
        if (!mode_has(ICANON) && tty.mode.control[VMIN] == 0) {
            if (tty.mode.control[VTIME] == 0) {
                return 0;
            }
            if (deadline == 0) {
                deadline = now_ns() + tty.mode.control[VTIME] * 100000000ull;
            }
        }
        e = sleep_on_until(&tty.readers, deadline);
        if (e != 0) {
            return e == -ETIMEDOUT ? 0 : e;
        }
    }
}

static long tty_write(struct file *file, struct buffer *from, size_t n, uint64_t offset)
{
    char piece[256];
    size_t done = 0;

    (void)file;
    (void)offset;
    int e = mode_has(TOSTOP) ? background_check(SIGTTOU, 0) : 0;
    n = n < WRITE_MAX ? n : WRITE_MAX;
    while (e == 0 && done < n) {
        size_t part = n - done < sizeof(piece) ? n - done : sizeof(piece);
        e = buffer_get(from, piece, part);
        if (e == 0) {
            output(piece, part);
            done += part;
        }
    }
    return done > 0 ? (long)done : e;
}

static unsigned tty_poll(struct file *file)
{
    (void)file;
    return POLLOUT | (tty.tail < tty.ready ? POLLIN : 0);
}

/* ---- settings -------------------------------------------------------------------------------- */

static long mode_set(unsigned request, uintptr_t argument)
{
    struct termios mode;
    int e = background_check(SIGTTOU, 0);

    if (e != 0) {
        return e;
    }
    if (copy_in(&mode, argument, sizeof(mode)) != 0) {
        return -EFAULT;
    }
    if (request == TCSETSF) {
        tty.edit = tty.ready = tty.tail;
    }
    bool was_canonical = mode_has(ICANON);
    tty.mode = mode;
    if (was_canonical && !mode_has(ICANON)) {
        commit();
    }
    return 0;
}

static bool group_in_session(int pgid, int sid)
{
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p)) {
        if (p->pgid == pgid && p->sid == sid) {
            return true;
        }
    }
    return false;
}

static long foreground_set(uintptr_t argument)
{
    int pgid;

    if (tty.sid == 0 || current->sid != tty.sid) {
        return -ENOTTY;
    }
    int e = background_check(SIGTTOU, 0);
    if (e != 0) {
        return e;
    }
    if (copy_in(&pgid, argument, sizeof(pgid)) != 0) {
        return -EFAULT;
    }
    if (pgid <= 0) {
        return -EINVAL;
    }
    if (!group_in_session(pgid, tty.sid)) {
        return -EPERM;
    }
    tty.foreground = pgid;
    return 0;
}

/* Make the terminal the controlling one of current's session, if that has none and nobody has it.
 */
static long session_take(bool steal)
{
    if (current->sid != current->pid) {
        return -EPERM;
    }
    if (tty.sid == current->sid) {
        return 0;
    }
    if (tty.sid != 0 && !steal) {
        struct proc *leader = proc_find(tty.sid);
        if (leader != NULL && leader->state != PROC_ZOMBIE) {
            return -EPERM;
        }
    }
    tty.sid = current->sid;
    tty.foreground = current->pgid;
    return 0;
}

static long session_get(unsigned request, uintptr_t argument)
{
    int value = request == TIOCGSID ? tty.sid : tty.foreground;

    if (tty.sid == 0 || current->sid != tty.sid) {
        return -ENOTTY;
    }
    return copy_out(argument, &value, sizeof(value));
}

static long session_leave(void)
{
    if (tty.sid == 0 || current->sid != tty.sid) {
        return -ENOTTY;
    }
    if (current->pid == tty.sid) {
        signal_send_group(tty.foreground, SIGHUP);
        signal_send_group(tty.foreground, SIGCONT);
        tty.sid = 0;
        tty.foreground = 0;
    }
    return 0;
}

static long window_set(uintptr_t argument)
{
    struct window_size window;

    if (copy_in(&window, argument, sizeof(window)) != 0) {
        return -EFAULT;
    }
    if (memcmp(&window, &tty.window, sizeof(window)) != 0) {
        tty.window = window;
        if (tty.foreground != 0) {
            signal_send_group(tty.foreground, SIGWINCH);
        }
    }
    return 0;
}

static long tty_ioctl(struct file *file, unsigned request, uintptr_t argument)
{
    int ready = (int)(tty.ready - tty.tail);

    (void)file;
    switch (request) {
    case TCGETS: return copy_out(argument, &tty.mode, sizeof(tty.mode));
    case TCSETS:
    case TCSETSW:
    case TCSETSF: return mode_set(request, argument);
    case TCFLSH:
        if (argument == 0 || argument == 2) {
            tty.edit = tty.ready = tty.tail;
        }
        return argument > 2 ? -EINVAL : 0;
    case TCSBRK:
    case TCXONC: return 0;
    case TIOCSCTTY: return session_take(argument == 1);
    case TIOCNOTTY: return session_leave();
    case TIOCGPGRP:
    case TIOCGSID: return session_get(request, argument);
    case TIOCSPGRP: return foreground_set(argument);
    case TIOCGWINSZ: return copy_out(argument, &tty.window, sizeof(tty.window));
    case TIOCSWINSZ: return window_set(argument);
    case FIONREAD: return copy_out(argument, &ready, sizeof(ready));
    case TIOCOUTQ: ready = 0; return copy_out(argument, &ready, sizeof(ready));
    default: return -ENOTTY;
    }
}

int tty_open(struct inode *inode, struct file *file)
{
    static const struct file_ops tty_ops = {
        .seekable = false,
        .read = tty_read,
        .write = tty_write,
        .ioctl = tty_ioctl,
        .poll = tty_poll,
    };

    /* /dev/tty is the terminal of the caller's session. */
    if (inode->rdev == DEVICE_TTY && (tty.sid == 0 || current->sid != tty.sid)) {
        return -ENXIO;
    }
    file->ops = &tty_ops;
    return 0;
}

uint32_t tty_number(int sid, int *foreground)
{
    bool ours = tty.sid != 0 && sid == tty.sid;

    *foreground = ours ? tty.foreground : -1;
    return ours ? DEVICE_CONSOLE : 0;
}
