/* SPDX-License-Identifier: MIT */
/*
 * The file half as its own files see it: inodes, open files, and the few things that one kind of
 * file needs of another.
 *
 * Nothing here takes a lock: kernel code is not preempted (kernel.h).  What must survive a sleep is
 * held by a reference: an inode by inode_get, an open file by file_get.
 */
#ifndef KERNEL_VFS_H
#define KERNEL_VFS_H

#include "kernel.h"

enum {
    S_IFMT = 0170000,
    S_IFIFO = 0010000,
    S_IFCHR = 0020000,
    S_IFDIR = 0040000,
    S_IFREG = 0100000,
    S_IFLNK = 0120000,
    FILE_NAME_MAX = 255,
    LINKS_MAX = 40,   /* symbolic links followed in one path */
    OPEN_MAX = 256,   /* descriptors of a process */
    DEVICE_TMPFS = 1, /* st_dev */
    DEVICE_PROC = 2,
    DEVICE_PIPE = 3,
    TRANSFER_MAX = 0x7ffff000, /* bytes of one read or write, as on Linux */
};

enum {
    O_ACCMODE = 3,
    O_RDONLY = 0,
    O_WRONLY = 1,
    O_RDWR = 2,
    O_CREAT = 0100,
    O_EXCL = 0200,
    O_NOCTTY = 0400,
    O_TRUNC = 01000,
    O_APPEND = 02000,
    O_NONBLOCK = 04000,
    O_DIRECTORY = 0200000,
    O_NOFOLLOW = 0400000,
    O_CLOEXEC = 02000000,
    O_PATH = 010000000,
    O_TMPFILE = 020000000, /* its own bit; programs add O_DIRECTORY */
};

/* fcntl's commands about locks and seals. */
enum {
    F_GETLK = 5,
    F_SETLK = 6,
    F_SETLKW = 7,
    F_OFD_GETLK = 36,
    F_OFD_SETLK = 37,
    F_OFD_SETLKW = 38,
    F_ADD_SEALS = 1033,
    F_GET_SEALS = 1034,
};

/* The bits of poll's events. */
enum { POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLNVAL = 32 };

/* ---- buffers: where a transfer's bytes come from or go to ------------------------------------ */

/* Memory of the current process or of the kernel; the functions below advance it. */
struct buffer {
    uintptr_t at;
    bool user;
};

/* All n bytes, or -EFAULT and the buffer has not advanced. */
int buffer_put(struct buffer *to, const void *from, size_t n);
int buffer_get(struct buffer *from, void *to, size_t n);
int buffer_put_zeros(struct buffer *to, size_t n);

/* ---- stores: a growing row of bytes in a section (store.c) ----------------------------------- */

struct blk;
struct inode;
struct store {
    struct quire_section *section; /* null: its bytes were not wanted yet */
    struct inode *inode;           /* whose bytes these are; not counted; null: nobody's */
    uint64_t image;                /* where on the archive's disk its bytes began, or 0 */
    uint64_t image_size;           /* less where it was cut since */
    struct store *next_image;      /* of those that have a section and an image */
    bool bounded;                  /* leaves the last frames of the machine to programs */
};

enum {
    STORE_SPARE = 8, /* a bounded store stops when less than 1/8 of all frames is free */
};
#define STORE_MAX (UINT64_C(1) << 40)

/*
 * Say whose bytes they will be (or null), and what they are at first: `size` bytes of the archive's
 * disk from its byte `image` on, or none.  A store of zeros alone is an empty one and nobody's.
 */
void store_begin(struct store *s, struct inode *inode, uint64_t image, uint64_t size);
/* Give up the section, and with it the bytes unless they are mapped. */
void store_end(struct store *s);
/* The section, made now if there was none.  0 or -ENOSPC. */
int store_section(struct store *s, struct quire_section **out);
uint64_t store_size(const struct store *s);  /* bytes */
uint64_t store_pages(const struct store *s); /* in memory */
/* Bytes moved, or -E when there are none; short at the end of the store, at a fault, out of frames.
 */
long store_read(struct store *s, struct buffer *to, size_t n, uint64_t offset);
long store_write(struct store *s, struct buffer *from, size_t n, uint64_t offset);
/* The disk that holds the archive; before the first store of it is read. */
void stores_begin(struct blk *disk);
/* Forget unchanged pages of archive's files, with `mapped` those that programs map too: `frames` or
 * more if there are so many; how many went. */
uint64_t stores_purge(uint64_t frames, bool mapped);
/* What the store grows by reads as zeros.  -EFBIG, -EPERM (sealed), -ENOSPC. */
int store_resize(struct store *s, uint64_t size);

/* ---- inodes ---------------------------------------------------------------------------------- */

struct file;

/* One name of a directory, as getdents64 shows it. */
struct entry_view {
    uint64_t cookie; /* position after this entry */
    uint64_t ino;
    uint32_t mode; /* its type bits */
    char name[FILE_NAME_MAX + 1];
};

struct inode_ops {
    /* Directories.  Inodes are returned with a reference, or null and *error = -E. */
    struct inode *(*lookup)(struct inode *dir, const char *name, size_t length, int *error);
    struct inode *(*parent)(struct inode *dir, int *error);
    /* The first entry behind position `after`; false at the end.  Never "." or "..". */
    bool (*entry)(struct inode *dir, uint64_t after, struct entry_view *out);
    /* Links: the text, at most size bytes without a 0.  follow may be null: the text is followed.
     */
    long (*link_text)(struct inode *link, char *to, size_t size);
    struct inode *(*follow)(struct inode *link, int *error);
    /* Prepare file->ops, file->data of a new open file; 0 or -E. */
    int (*open)(struct inode *inode, struct file *file);
    int (*resize)(struct inode *inode, uint64_t size);
    /* Nobody holds it: give up what `as` holds.  False: somebody does after all, who puts it. */
    bool (*destroy)(struct inode *inode);
};

/*
 * A file of any kind.  Owner: who holds references (directory entries, open files, working
 * directories, walks); the last inode_put frees it.
 */
struct inode {
    const struct inode_ops *ops;
    uint32_t refs;
    uint32_t links; /* as stat shows them */
    uint32_t mode;  /* type and permission bits */
    uint32_t uid, gid;
    uint64_t device, ino;
    uint64_t rdev;
    uint64_t atime, mtime, ctime; /* wall_ns */
    struct file_lock *locks;      /* filelock.c */
    struct inode *named_in;       /* not a directory: where it has a name; not counted, or null */
    char *label;                  /* what /proc calls it if it never had a name, or null */
    uint32_t seals;               /* memfd.c */
    bool linkable;                /* it has no name yet and may get one (O_TMPFILE) */
    union {
        struct store store; /* S_IFREG of tmpfs */
        struct {
            struct entry *first, *last; /* in the order of their cookies */
            struct entry *shown;        /* what the last reader was shown, if it is there */
            uint64_t next_cookie;
            struct inode *parent; /* not counted; null once the directory is removed */
        } directory;
        char *target;      /* S_IFLNK of tmpfs */
        struct pipe *pipe; /* S_IFIFO: not counted, cleared when the pipe goes */
        struct {
            const struct proc_node *node; /* a text or a link; null for a descriptor's link */
            int pid, fd;
        } proc;
    } as;
};

static inline bool inode_is(const struct inode *inode, uint32_t type)
{
    return (inode->mode & S_IFMT) == type;
}

/* A new inode with one reference and the time of now, or null. */
struct inode *inode_create(const struct inode_ops *ops, uint64_t device, uint32_t mode);
int inode_resize(struct inode *inode, uint64_t size);

/* ---- room (syssize.c) ------------------------------------------------------------------------ */

/* Zeros over bytes [offset, end) of a regular file, whose pages there are given up.  0 or -E. */
int file_punch(struct inode *inode, uint64_t offset, uint64_t end);

/* ---- mappings of files (filemap.c) ----------------------------------------------------------- */

/* Pages of a regular file, as a mapping shows them. */
struct file_view {
    struct inode *inode;
    uint64_t offset, length; /* bytes; multiples of the page size */
    uint32_t prot;
    bool shared;    /* writes go to the file */
    bool read_only; /* and nothing may make the mapping writable */
};

/* As quire_map, with the view's length and protection. */
enum quire_status file_map(struct quire_space *space, vaddr_t *address,
                           const struct file_view *view, uint32_t flags);
/* The same of new memory that children share. */
enum quire_status shared_map(struct quire_space *space, vaddr_t *address, uint64_t length,
                             uint32_t prot, uint32_t flags);

/* Begin to read what a program says it will want of a regular file; length 0: all that follows. */
void file_fetch(struct inode *inode, uint64_t offset, uint64_t length);

/* ---- paths (vfs.c) --------------------------------------------------------------------------- */

enum { WALK_FOLLOW = 1 /* a link in last position too */ };

/* Where a path leads.  Free it with walk_end. */
struct walk {
    struct inode *parent; /* the directory that holds, or would hold, the last name */
    struct inode *inode;  /* or null: no such name */
    bool slash;           /* the path ended in a slash */
    bool special;         /* the last name is ".", "..", or the path is "/" */
    size_t length;
    char name[FILE_NAME_MAX + 1];
};

/* 0 (also when the last name alone is missing), or -E with nothing to free. */
int walk_path(struct inode *start, const char *path, unsigned flags, struct walk *out);
void walk_end(struct walk *walk);

/* The absolute path of a directory; its length with the 0, -ERANGE, -ENOENT when it was removed. */
long directory_path(struct inode *dir, char *to, size_t size);
/* The same of any inode; one without a name has " (deleted)" behind what it is called. */
long inode_path(struct inode *inode, char *to, size_t size);
/* The absolute path, links followed, of what `path` names (kmalloc), or null and *error = -E. */
char *path_resolve(const char *path, int *error);

/* ---- tmpfs.c, cpio.c ------------------------------------------------------------------------- */

bool tmpfs_owns(const struct inode *dir); /* can names be made and removed here? */
struct inode *tmpfs_create(uint32_t mode, int *error);
struct inode *tmpfs_create_link(const char *target, size_t length, int *error);
/* Give `inode` the name, which must be free; takes its own reference.  0, -ENOSPC, -ENOENT. */
int tmpfs_insert(struct inode *dir, const char *name, size_t length, struct inode *inode);
void tmpfs_remove(struct inode *dir, const char *name, size_t length);
bool tmpfs_is_empty(const struct inode *dir);
/* Move a name; `to` may exist and is then replaced.  What is allowed, the caller has checked. */
int tmpfs_rename(struct inode *from_dir, const char *from, size_t from_length, struct inode *to_dir,
                 const char *to, size_t to_length);
/* The name that `inode` has in `dir`, or null. */
const char *tmpfs_name_of(const struct inode *dir, const struct inode *inode);

/* Unpack the archive on a disk below `root`; says on the console what it could not use. */
void cpio_unpack(struct inode *root, struct blk *disk);

/* ---- open files (file.c) --------------------------------------------------------------------- */

struct file_ops {
    bool seekable;
    long (*read)(struct file *file, struct buffer *to, size_t n, uint64_t offset);
    long (*write)(struct file *file, struct buffer *from, size_t n, uint64_t offset);
    long (*ioctl)(struct file *file, unsigned request, uintptr_t argument); /* or null: ENOTTY */
    unsigned (*poll)(struct file *file); /* ready events; or null: always ready */
    void (*release)(struct file *file);  /* or null */
};

/* An open file: what dup and fork share.  Freed by the last file_put. */
struct file {
    const struct file_ops *ops;
    struct inode *inode;
    uint32_t refs;
    uint32_t flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_DIRECTORY, O_PATH */
    uint64_t offset;
    void *data;
};

/* An open file over `inode` (one more reference to it), or null and *error = -E. */
struct file *file_open(struct inode *inode, unsigned flags, int *error);
struct file *file_get(struct file *file);
void file_put(struct file *file);

/* The file behind a descriptor of current, with a reference; or null. */
struct file *descriptor_get(int fd);
/* Without a reference, of any process (for /proc); or null. */
struct file *descriptor_peek(const struct proc *p, int fd);
/* The lowest free descriptor from `low` on; it takes over the caller's reference.  Or -EMFILE. */
int descriptor_install(struct file *file, bool close_on_exec, int low);
/* The same at one place, closing what was there. */
int descriptor_replace(int fd, struct file *file, bool close_on_exec);
int descriptor_close(int fd);
bool descriptor_close_on_exec(int fd);
void descriptor_set_close_on_exec(int fd, bool value);

/* ---- locks (filelock.c) ---------------------------------------------------------------------- */

/* Give up what `owner` (an open file, or a table of them) has locked. */
void locks_release(struct inode *inode, const void *owner);
/* The commands F_GETLK to F_OFD_SETLKW; `user` is a struct flock.  May sleep. */
long lock_fcntl(struct file *file, int command, uintptr_t user);

/* What may be promised about a file for good (memfd.c). */
enum {
    SEAL_SEAL = 1, /* no more promises */
    SEAL_SHRINK = 2,
    SEAL_GROW = 4,
    SEAL_WRITE = 8,
    SEAL_FUTURE_WRITE = 16, /* only mappings that can be written already write it from now on */
};

/* F_ADD_SEALS and F_GET_SEALS (memfd.c). */
long seals_fcntl(struct file *file, int command, uint64_t seals);

/* ---- kinds of file --------------------------------------------------------------------------- */

/* Two open files over one new pipe; 0 or -E. */
int pipe_create(struct file **reader, struct file **writer, unsigned flags);
int fifo_open(struct inode *inode, struct file *file); /* by its name; may sleep */

enum {
    DEVICE_NULL = 0x103,
    DEVICE_ZERO = 0x105,
    DEVICE_FULL = 0x107,
    DEVICE_RANDOM = 0x108,
    DEVICE_URANDOM = 0x109,
    DEVICE_TTY = 0x500,
    DEVICE_CONSOLE = 0x501,
};
int device_open(struct inode *inode, struct file *file);
int tty_open(struct inode *inode, struct file *file);
/* For /proc/PID/stat: the tty's number and foreground group, 0 and -1 for other sessions. */
uint32_t tty_number(int sid, int *foreground);

struct inode *proc_root_create(void); /* with a reference, or null */

/* Events that are ready on `file` now. */
unsigned file_poll(struct file *file);

#endif
