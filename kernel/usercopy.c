/* SPDX-License-Identifier: MIT */
/*
 * The current program's memory, as the kernel reads and writes it.
 *
 * The bytes are moved by user_copy and user_string (trap.S), which use the program's own addresses.
 * A page that is not there, or not writable yet, faults; the page fault handler asks quire_fault
 * exactly as for the program itself and the instruction goes on.  When quire refuses, the handler
 * resumes at user_access_failed and the call here returns -EFAULT.  Addresses are checked first, so
 * a bad one can only be a hole or a forbidden page, never the kernel's.
 */
#include "cpu.h"

static bool range_ok(uintptr_t user, size_t n)
{
    return user <= USER_HIGH && n <= USER_HIGH - user;
}

int copy_in(void *to, uintptr_t user, size_t n)
{
    if (!range_ok(user, n) || !current->mm)
        return -EFAULT;
    return user_copy(to, (const void *)user, n) == 0 ? 0 : -EFAULT;
}

int copy_out(uintptr_t user, const void *from, size_t n)
{
    if (!range_ok(user, n) || !current->mm)
        return -EFAULT;
    return user_copy((void *)user, from, n) == 0 ? 0 : -EFAULT;
}

long copy_in_string(char *to, uintptr_t user, size_t max)
{
    size_t room = user < USER_HIGH ? USER_HIGH - user : 0;
    size_t limit = max < room ? max : room;
    long length;

    if (limit == 0 || !current->mm)
        return max == 0 ? -ENAMETOOLONG : -EFAULT;
    length = user_string(to, (const char *)user, limit);
    if (length < 0)
        return -EFAULT;
    if ((size_t)length == limit)
        return limit == max ? -ENAMETOOLONG : -EFAULT;
    return length;
}
