/* SPDX-License-Identifier: MIT */
/*
 * What quire says, as Linux's error numbers: the one place where a status becomes an errno.
 *
 * The same status has different names in different calls: no frame is ENOMEM to who maps and ENOSPC
 * to who writes a file; beyond a file's end is a signal to who touches it, EFAULT to who has it
 * touched for him, and EIO to who reads it as /proc/PID/mem.
 */
#include "process.h"

long mm_error(enum quire_status status)
{
    switch (status) {
    case QUIRE_OK: return 0;
    case QUIRE_OVERLAPS: return -EEXIST;
    case QUIRE_NOT_MAPPED:
    case QUIRE_OUT_OF_RANGE:
    case QUIRE_NO_ADDRESSES:
    case QUIRE_NO_MEMORY:
    case QUIRE_TOO_MANY_SPACES:
    case QUIRE_TOO_MANY_PINS:
    case QUIRE_NO_COMMIT:
    case QUIRE_COPY_LIMIT:
    case QUIRE_NOT_COMMITTED:
    case QUIRE_GUARDED:
    case QUIRE_PROTECTED: return -ENOMEM;
    case QUIRE_WOULD_WAIT: return -EAGAIN;
    case QUIRE_BEYOND_END:
    case QUIRE_IO_ERROR: return -EIO;
    case QUIRE_SEALED: return -EPERM;
    case QUIRE_HAS_WRITERS: return -EBUSY;
    case QUIRE_TOO_MANY_SECTIONS:
    case QUIRE_TOO_MANY_PAGEFILES: return -ENFILE;
    case QUIRE_MISALIGNED:
    case QUIRE_ZERO_LENGTH:
    case QUIRE_WRAPS:
    case QUIRE_BAD_FLAGS:
    case QUIRE_BAD_CONFIG:
    case QUIRE_BAD_PIN:
    case QUIRE_STATUS_COUNT:
    default: return -EINVAL;
    }
}

long mm_protect_error(enum quire_status status)
{
    return status == QUIRE_PROTECTED ? -EACCES : mm_error(status);
}

long mm_populate_error(enum quire_status status)
{
    switch ((unsigned)status) {
    case QUIRE_PROTECTED: return -EINVAL;
    case QUIRE_GUARDED:
    case QUIRE_BEYOND_END:
    case QUIRE_IO_ERROR: return -EFAULT;
    default: return mm_error(status);
    }
}

long mm_lock_error(enum quire_status status)
{
    return status == QUIRE_OK ? 0 : status == QUIRE_NO_MEMORY ? -EAGAIN : -ENOMEM;
}

long file_error(enum quire_status status)
{
    switch ((unsigned)status) {
    case QUIRE_NO_MEMORY: return -ENOSPC;
    case QUIRE_OUT_OF_RANGE: return -EFBIG;
    default: return mm_error(status);
    }
}
