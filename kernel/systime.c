/* SPDX-License-Identifier: MIT */
/*
 * Calls about time.  Sleeps end at the first timer tick after their deadline.
 */
#include "process.h"

enum {
    CLOCK_REALTIME = 0,
    CLOCK_PROCESS = 2,
    CLOCK_THREAD = 3,
    CLOCK_BOOTTIME = 7,
    CLOCK_LAST = 11,
    TIMER_ABSTIME = 1,
    ITIMER_REAL = 0,
};
#define SECOND UINT64_C(1000000000)
#define FAR_SECONDS (UINT64_C(1) << 33)

struct timespec {
    uint64_t seconds, ns;
};

static bool clock_read(int clock, uint64_t *ns)
{
    if (clock < 0 || clock > CLOCK_LAST)
        return false;
    if (clock == CLOCK_PROCESS || clock == CLOCK_THREAD) {
        sched_account();
        *ns = current->user_ns + current->system_ns;
    } else if (clock == CLOCK_REALTIME || clock == 5 || clock == 8 || clock == 11) {
        *ns = wall_ns();
    } else {
        *ns = now_ns();
    }
    return true;
}

static int put_timespec(uintptr_t to, uint64_t ns)
{
    struct timespec t = {ns / SECOND, ns % SECOND};

    return copy_out(to, &t, sizeof t);
}

static int put_timeval(uintptr_t to, uint64_t ns)
{
    struct timespec t = {ns / SECOND, ns % SECOND / 1000};

    return copy_out(to, &t, sizeof t);
}

long sys_clock_gettime(const uint64_t *a)
{
    uint64_t ns;

    return clock_read((int)a[0], &ns) ? put_timespec(a[1], ns) : -EINVAL;
}

long sys_clock_getres(const uint64_t *a)
{
    uint64_t ns;

    if (!clock_read((int)a[0], &ns))
        return -EINVAL;
    return a[1] ? put_timespec(a[1], 1) : 0;
}

long sys_gettimeofday(const uint64_t *a)
{
    uint64_t zone = 0;

    if (a[0] && put_timeval(a[0], wall_ns()))
        return -EFAULT;
    return a[1] ? copy_out(a[1], &zone, 8) : 0;
}

long sys_time(const uint64_t *a)
{
    uint64_t seconds = wall_ns() / SECOND;

    if (a[0] && copy_out(a[0], &seconds, 8))
        return -EFAULT;
    return (long)seconds;
}

/* Sleep until `deadline` (of now_ns); the rest of it to `rest_to` if a signal comes first. */
static long sleep_until(uint64_t deadline, uintptr_t rest_to)
{
    struct waitq never = {NULL};
    int error = 0;

    while (now_ns() < deadline && error != -ETIMEDOUT) {
        error = sleep_on_until(&never, deadline);
        if (error == -EINTR) {
            uint64_t now = now_ns();

            if (rest_to && put_timespec(rest_to, now < deadline ? deadline - now : 0))
                return -EFAULT;
            return -EINTR;
        }
    }
    return 0;
}

static long timespec_in(uintptr_t from, uint64_t *ns)
{
    struct timespec t;

    if (copy_in(&t, from, sizeof t))
        return -EFAULT;
    if ((int64_t)t.seconds < 0 || t.ns >= SECOND)
        return -EINVAL;
    *ns = (t.seconds < FAR_SECONDS ? t.seconds : FAR_SECONDS) * SECOND + t.ns;
    return 0;
}

long sys_nanosleep(const uint64_t *a)
{
    uint64_t ns;
    long error = timespec_in(a[0], &ns);

    return error ? error : sleep_until(now_ns() + ns, a[1]);
}

long sys_clock_nanosleep(const uint64_t *a)
{
    uint64_t ns, now;
    long error;

    if (!clock_read((int)a[0], &now) || (int)a[0] == CLOCK_THREAD)
        return -EINVAL;
    error = timespec_in(a[2], &ns);
    if (error)
        return error;
    if (!(a[1] & TIMER_ABSTIME))
        return sleep_until(now_ns() + ns, a[3]);
    return ns > now ? sleep_until(now_ns() + (ns - now), 0) : 0;
}

long sys_times(const uint64_t *a)
{
    const uint64_t tick = SECOND / TICKS_PER_SECOND;
    uint64_t t[4];

    sched_account();
    t[0] = current->user_ns / tick;
    t[1] = current->system_ns / tick;
    t[2] = current->child_user_ns / tick;
    t[3] = current->child_system_ns / tick;
    if (a[0] && copy_out(a[0], t, sizeof t))
        return -EFAULT;
    return (long)(now_ns() / tick);
}

void fill_rusage(void *to, uint64_t user_ns, uint64_t system_ns, uint64_t faults)
{
    uint64_t r[18] = {user_ns / SECOND, user_ns % SECOND / 1000, system_ns / SECOND,
                      system_ns % SECOND / 1000};

    r[8] = faults;
    memcpy(to, r, sizeof r);
}

long sys_getrusage(const uint64_t *a)
{
    uint64_t r[18];

    sched_account();
    if ((int)a[0] == -1)
        fill_rusage(r, current->child_user_ns, current->child_system_ns, 0);
    else if ((int)a[0] == 0 || (int)a[0] == 1)
        fill_rusage(r, current->user_ns, current->system_ns, current->minor_faults);
    else
        return -EINVAL;
    return copy_out(a[1], r, sizeof r);
}

static uint64_t alarm_left(void)
{
    uint64_t now = now_ns();

    return current->alarm_at > now ? current->alarm_at - now : 0;
}

long sys_alarm(const uint64_t *a)
{
    uint64_t left = alarm_left(), seconds = (uint32_t)a[0];

    current->alarm_at = seconds ? now_ns() + seconds * SECOND : 0;
    current->alarm_interval = 0;
    return (long)((left + SECOND - 1) / SECOND);
}

struct itimer {
    uint64_t interval_s, interval_us, value_s, value_us;
};

long sys_getitimer(const uint64_t *a)
{
    uint64_t left = alarm_left(), every = current->alarm_interval;
    struct itimer t = {every / SECOND, every % SECOND / 1000, left / SECOND, left % SECOND / 1000};

    return a[0] == ITIMER_REAL ? copy_out(a[1], &t, sizeof t) : -EINVAL;
}

long sys_setitimer(const uint64_t *a)
{
    struct itimer t = {0};
    uint64_t value;

    if (a[0] != ITIMER_REAL)
        return -EINVAL;
    if (a[1] && copy_in(&t, a[1], sizeof t))
        return -EFAULT;
    if (t.interval_us >= 1000000 || t.value_us >= 1000000 || t.interval_s > FAR_SECONDS ||
        t.value_s > FAR_SECONDS)
        return -EINVAL;
    if (a[2] && sys_getitimer((const uint64_t[6]){ITIMER_REAL, a[2]}))
        return -EFAULT;
    value = t.value_s * SECOND + t.value_us * 1000;
    current->alarm_at = value ? now_ns() + value : 0;
    current->alarm_interval = t.interval_s * SECOND + t.interval_us * 1000;
    return 0;
}
