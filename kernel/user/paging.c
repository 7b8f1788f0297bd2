/* SPDX-License-Identifier: MIT */
/*
 * Tests of paging, as a program sees it.  They need a page file, so they run only when they are
 * asked for.
 *
 * Goal: pages that a program sends out are where every file of /proc says they are, come back with
 * their bytes, are the same for both sides of a fork, and one that cannot be read is SIGBUS for
 * that access and nothing else.  Method: madvise sends them out; an idle moment, and they are
 * written; a child that takes the memory there is, and their frames are gone.
 */
#include "usertests.h"

enum { PAGES = 8, PATIENCE_MS = 20000 };

static const char all_there[] = "11111111";
static const char all_out[] = "oooooooo";

/* What is counted of pages on their way. */
struct paging {
    long out, in, soft;         /* written and read, and found before they had gone */
    long out_errors, in_errors; /* transfers that failed */
    long room;                  /* free in page files: KiB */
};

static struct paging paging_now(void)
{
    struct paging p = {.room = kib_of(file_text("/proc/meminfo"), "SwapFree:")};
    const char *text = file_text("/proc/vmstat");
    const struct {
        const char *label;
        long *number;
    } counts[] = {
        {"pswpout ", &p.out},
        {"pswpin ", &p.in},
        {"pgsoft ", &p.soft},
        {"pswpout_errors ", &p.out_errors},
        {"pswpin_errors ", &p.in_errors},
    };

    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        EXPECT(number_find(text, counts[i].label, counts[i].number) != NULL);
    }
    return p;
}

/* KiB of this program that are out. */
static long swapped(void) { return kib_of(file_text("/proc/self/status"), "VmSwap:"); }

/* Fresh pages, the i-th full of first + i. */
static uint8_t *pages_filled(uint64_t count, uint8_t first)
{
    uint8_t *pages = pages_map(count);

    for (uint64_t i = 0; i < count; i++) {
        memset(pages + i * PAGE, (uint8_t)(first + i), PAGE);
    }
    return pages;
}

static void filled_expect(const uint8_t *pages, uint64_t count, uint8_t first)
{
    for (uint64_t i = 0; i < count; i++) {
        for (unsigned at = 0; at < PAGE; at++) {
            EXPECT_EQUAL(pages[i * PAGE + at], (uint8_t)(first + i));
        }
    }
}

/* Wait until a count has risen to `least`, for what is done in idle time. */
static void wait_for(const char *label, long least)
{
    long now = 0;

    for (int64_t end = clock_ms() + PATIENCE_MS; clock_ms() < end; sleep_ms(5)) {
        EXPECT(number_find(file_text("/proc/vmstat"), label, &now) != NULL);
        if (now >= least) {
            return;
        }
    }
    test_failed(__FILE__, __LINE__, label, now);
}

/* Send pages out, none of which has been out, until they have been written. */
static void send_out(const uint8_t *pages, uint64_t count)
{
    long before = paging_now().out;

    EXPECT_EQUAL(advise(pages, count, MADV_PAGEOUT), 0);
    wait_for("pswpout ", before + (long)count);
}

/* A child has all frames that are free, and so many of those of pages that are out. */
static void frames_take(long more)
{
    int pid = child_fork();

    if (pid == 0) {
        uint64_t count = (uint64_t)(frames_free() + more);
        uint8_t *pages = pages_map(count);
        for (uint64_t i = 0; i < count; i++) {
            pages[i * PAGE] = 1;
        }
        sys_exit(0);
    }
    EXPECT(ended_by_exit(child_wait(pid), 0));
}

enum { TAKEN = 1024, TIMES = 5 };

void test_paging_out(void)
{
    uint8_t *plain = pages_filled(PAGES, 1);
    const long before = swapped();
    const struct paging start = paging_now();

    EXPECT(string_equal(map_of(plain, PAGES), all_there));
    EXPECT_EQUAL(advise(plain, PAGES, MADV_PAGEOUT), 0);
    EXPECT(string_equal(map_of(plain, PAGES), all_out));
    EXPECT(string_equal(core_of(plain, PAGES), "00000000"));
    EXPECT_EQUAL(swapped(), before + PAGES * 4);
    EXPECT_EQUAL(paging_now().room, start.room - PAGES * 4);
    const char *entry = line_of(file_text("/proc/self/smaps"), plain, PAGES);
    EXPECT_EQUAL(kib_of(entry, "Rss:"), 0);
    EXPECT_EQUAL(kib_of(entry, "Swap:"), PAGES * 4);
    wait_for("pswpout ", start.out + PAGES);
    EXPECT(string_equal(map_of(plain, PAGES), all_out));
    /* Half of them come back, softly: there is memory enough to keep them. */
    filled_expect(plain, PAGES / 2, 1);
    EXPECT(string_equal(map_of(plain, PAGES), "1111oooo"));
    EXPECT(string_equal(core_of(plain, PAGES), "11110000"));
    EXPECT_EQUAL(swapped(), before + PAGES / 2 * 4);
    entry = line_of(file_text("/proc/self/smaps"), plain, PAGES);
    EXPECT_EQUAL(kib_of(entry, "Rss:"), PAGES / 2 * 4);
    EXPECT_EQUAL(kib_of(entry, "Swap:"), PAGES / 2 * 4);
    filled_expect(plain, PAGES, 1);
    EXPECT_EQUAL(swapped(), before);
    const struct paging end = paging_now();
    EXPECT_EQUAL(end.soft - start.soft, PAGES);
    EXPECT_EQUAL(end.in, start.in);
    /* What is unmapped gives its place in the page file back. */
    EXPECT_EQUAL(advise(plain, PAGES, MADV_PAGEOUT), 0);
    EXPECT_EQUAL(sys_munmap(address_of(plain), PAGES * PAGE), 0);
    EXPECT_EQUAL(paging_now().room, start.room);
    EXPECT_EQUAL(swapped(), before);
}

void test_paging_back(void)
{
    uint8_t *plain = pages_filled(PAGES, 1);
    struct paging start;

    /* Read, when the frames have gone to others. */
    send_out(plain, PAGES);
    frames_take(TAKEN);
    EXPECT(string_equal(map_of(plain, PAGES), all_out));
    start = paging_now();
    filled_expect(plain, PAGES, 1);
    EXPECT(paging_now().in >= start.in + PAGES);
    EXPECT(string_equal(map_of(plain, PAGES), all_there));
    /* Read ahead: then nobody has to wait. */
    memset(plain, 7, (size_t)PAGES * PAGE);
    send_out(plain, PAGES);
    frames_take(TAKEN);
    start = paging_now();
    EXPECT_EQUAL(advise(plain, PAGES, MADV_WILLNEED), 0);
    wait_for("pswpin ", start.in + PAGES);
    sleep_ms(200); /* neighbours in the page file are read along, and counted */
    start = paging_now();
    for (unsigned i = 0; i < PAGES; i++) {
        EXPECT_EQUAL(plain[i * PAGE + i], 7);
    }
    EXPECT_EQUAL(paging_now().soft - start.soft, PAGES);
    EXPECT_EQUAL(paging_now().in, start.in);
    /* Cold pages stay until others want memory. */
    EXPECT_EQUAL(advise(plain, PAGES, MADV_COLD), 0);
    EXPECT(string_equal(map_of(plain, PAGES), all_there));
    frames_take(TAKEN);
    for (unsigned i = 0; i < PAGES; i++) {
        EXPECT_EQUAL(plain[i * PAGE + i], 7);
    }
}

void test_paging_locked(void)
{
    uint8_t *plain = pages_filled(PAGES, 1);

    EXPECT_EQUAL(call3(SYS_mlock, address_of(plain + 2 * PAGE), PAGE, 0), 0);
    EXPECT_EQUAL(advise(plain + 2 * PAGE, 1, MADV_PAGEOUT), -EINVAL);
    EXPECT_EQUAL(advise(plain, 2, MADV_PAGEOUT), 0);
    EXPECT_EQUAL(advise(plain + 3 * PAGE, 5, MADV_PAGEOUT), 0);
    EXPECT(string_equal(map_of(plain, PAGES), "oo1ooooo"));
    frames_take(TAKEN);
    EXPECT(string_equal(map_of(plain, PAGES), "oo1ooooo"));
    /* To lock what is out brings it in.  What is not locked any more may leave, at the latest when
     * memory has been looked through twice for what may. */
    EXPECT_EQUAL(call3(SYS_mlock, address_of(plain), PAGE, 0), 0);
    EXPECT(string_equal(map_of(plain, PAGES), "1o1ooooo"));
    EXPECT_EQUAL(call3(SYS_munlock, address_of(plain), PAGES * PAGE, 0), 0);
    for (int i = 0; i < TIMES && !string_equal(map_of(plain, PAGES), all_out); i++) {
        frames_take(4 * TAKEN);
        EXPECT_EQUAL(advise(plain, PAGES, MADV_PAGEOUT), 0);
    }
    EXPECT(string_equal(map_of(plain, PAGES), all_out));
    filled_expect(plain, PAGES, 1);
}

/* Shared memory leaves what shows it, and memory when others want that; what a private view has of
 * its own is like any. */
void test_paging_views(void)
{
    uint8_t *shared = pages_share(PAGES);

    for (unsigned i = 0; i < PAGES; i++) {
        memset(shared + i * PAGE, (int)(1 + i), PAGE);
    }
    EXPECT(string_equal(map_of(shared, PAGES), "ssssssss"));
    EXPECT_EQUAL(advise(shared, PAGES, MADV_PAGEOUT), 0);
    EXPECT(string_equal(map_of(shared, PAGES), "00000000"));
    EXPECT(string_equal(core_of(shared, PAGES), "11111111"));
    for (int i = 0; i < TIMES && !string_equal(core_of(shared, PAGES), "00000000"); i++) {
        frames_take(4 * TAKEN);
    }
    EXPECT(string_equal(core_of(shared, PAGES), "00000000"));
    filled_expect(shared, PAGES, 1);
    EXPECT(string_equal(map_of(shared, PAGES), "ssssssss"));
    int fd = memory_file("paging", PAGES, 1);
    uint8_t *own = file_view(fd, PAGES, PROT_RW, MAP_PRIVATE);
    memset(own, 9, 4 * PAGE);
    EXPECT_EQUAL(own[4 * PAGE], 5);
    EXPECT_EQUAL(advise(own, 4, MADV_PAGEOUT), 0);
    EXPECT(string_equal(map_of(own, 5), "oooos"));
    EXPECT_EQUAL(kib_of(line_of(file_text("/proc/self/smaps"), own, PAGES), "Swap:"), 16);
    EXPECT_EQUAL(own[3 * PAGE + 1], 9);
    EXPECT_EQUAL(byte_at(fd, 3 * PAGE), 4);
}

void test_paging_fork(void)
{
    uint8_t *plain = pages_filled(PAGES, 1);

    /* Once before the pages have gone, once when they must be read. */
    for (int taken = 0; taken < 2; taken++) {
        send_out(plain, PAGES);
        if (taken != 0) {
            frames_take(TAKEN);
        }
        int pid = child_fork();
        if (pid == 0) {
            EXPECT(string_equal(map_of(plain, PAGES), all_out));
            filled_expect(plain, 2, 1);
            memset(plain, 99, 4 * PAGE);
            filled_expect(plain + 4 * PAGE, 4, 5);
            sys_exit(0);
        }
        EXPECT(ended_by_exit(child_wait(pid), 0));
        filled_expect(plain, PAGES, 1);
        pid = child_fork();
        if (pid == 0) {
            filled_expect(plain, PAGES, 1);
            sys_exit(0);
        }
        for (unsigned i = 0; i < PAGES; i++) {
            memset(plain + i * PAGE, (int)(1 + i), PAGE); /* changed, so they are written again */
        }
        EXPECT(ended_by_exit(child_wait(pid), 0));
    }
}

/* ---- a page that cannot be read -------------------------------------------------------------- */

static volatile uint64_t failed_at, failed_code, failures;

/* The program puts another page in its place, and goes on. */
static void on_failure(int signal, struct siginfo *info, void *context)
{
    (void)signal;
    (void)context;
    failed_at = info->address;
    failed_code = (uint64_t)info->code;
    failures++;
    (void)sys_mmap(info->address / PAGE * PAGE, PAGE, PROT_RW,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED);
}

/*
 * Every read of the page file fails.  What others have must not leave memory then: so much is sent
 * out here that the frames which are taken afterwards are these pages', the first ones' first.
 */
void test_reading_fails(void)
{
    enum { OUT = 2 * TAKEN, LOST = 3 };
    static uint8_t copy[PAGE];
    uint8_t *out = pages_filled(OUT, 1);
    uint8_t *there = pages_filled(PAGES, 1);
    int mem = (int)sys_open("/proc/self/mem", O_RDONLY, 0);
    int ends[2];

    EXPECT_EQUAL(sys_pipe2(ends, O_NONBLOCK), 0);
    send_out(out, OUT);
    frames_take(TAKEN);
    EXPECT(string_equal(map_of(out, PAGES), all_out));
    const struct paging start = paging_now();
    /* It is the access that fails, every time, in whatever way it is made. */
    EXPECT_EQUAL(fault_of(out + LOST * PAGE + 5, false), BUS_BEYOND);
    EXPECT(paging_now().in_errors > start.in_errors);
    EXPECT_EQUAL(fault_of(out + LOST * PAGE + 5, true), BUS_BEYOND);
    EXPECT_EQUAL(sys_write(ends[1], out + LOST * PAGE, PAGE), -EFAULT);
    EXPECT_EQUAL(sys_pread(mem, copy, 1, address_of(out + LOST * PAGE)), -EIO);
    EXPECT_EQUAL(advise(out + LOST * PAGE, 1, MADV_POPULATE_READ), -EFAULT);
    EXPECT_EQUAL(sys_write(ends[1], "x", 1), 1);
    EXPECT_EQUAL(sys_read(ends[0], out + LOST * PAGE, 1), -EFAULT);
    EXPECT_EQUAL(advise(out, PAGES, MADV_WILLNEED), 0);
    EXPECT(string_equal(map_of(out, PAGES), all_out));
    /* The handler gives it another page; no other access noticed anything. */
    signal_catch(SIGBUS, on_failure, 0);
    EXPECT_EQUAL(((volatile uint8_t *)out)[LOST * PAGE + 5], 0);
    EXPECT_EQUAL(failures, 1);
    EXPECT_EQUAL(failed_at, address_of(out + LOST * PAGE + 5));
    EXPECT_EQUAL(failed_code, BUS_ADRERR);
    EXPECT(string_equal(map_of(out, PAGES), "ooo1oooo"));
    filled_expect(there, PAGES, 1);
    filled_expect(out + (OUT - PAGES) * PAGE, PAGES, 1 + (OUT - PAGES) % 256);
    EXPECT_EQUAL(failures, 1);
    EXPECT_EQUAL(paging_now().in, start.in);
}
