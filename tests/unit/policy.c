/* SPDX-License-Identifier: MIT */
/*
 * What every policy promises, and what each of ours does.
 *
 * Ages are three bits, so all of them can be tried.
 */
#include "check.h"

static const struct quire_policy *const policies[] = {&quire_policy_aging, &quire_policy_clock};

enum { POLICIES = sizeof policies / sizeof policies[0], AGES = 8 };

/*
 * Goal: an age fits its bits, use never makes a page older than no use does, a page that came or
 * was just used does not leave, and whoever is used no more does, however young.  Method: all ages.
 */
static void promises(void)
{
    for (unsigned i = 0; i < POLICIES; i++) {
        const struct quire_policy *policy = policies[i];
        CHECK(policy->name[0] != '\0');
        CHECK(policy->old >= 1 && policy->old <= AGES - 1);
        for (unsigned age = 0; age < AGES; age++) {
            uint8_t used = policy->age((uint8_t)age, true), now = (uint8_t)age;
            CHECK(used <= AGES - 1);
            CHECK(used < policy->old);
            CHECK(used < policy->age((uint8_t)age, false));
            for (unsigned pass = 0; pass < AGES; pass++) {
                now = policy->age(now, false);
                CHECK(now <= AGES - 1);
            }
            CHECK(now >= policy->old);
        }
    }
}

/* The age of a page that came, after passes of which it was used in those with a u: "u-". */
static unsigned age_after(const struct quire_policy *policy, const char *passes)
{
    uint8_t age = 0;

    for (; *passes; passes++)
        age = policy->age(age, *passes == 'u');
    return age;
}

/*
 * Goal: aging puts pages in the order of their uses in the last three passes, and takes a page that
 * has come for one that was not used before.  Method: every history, oldest page first; the last
 * two are told from each other by no bit.
 */
static void aging_is_a_history(void)
{
    static const char *const histories[] = {"---", "u--", "-u-", "uu-", "--u", "u-u", "-uu"};
    enum { HISTORIES = sizeof histories / sizeof histories[0] };

    for (unsigned i = 0; i < HISTORIES; i++)
        CHECK(age_after(&quire_policy_aging, histories[i]) == AGES - 1 - i);
    CHECK(age_after(&quire_policy_aging, "uuu") == age_after(&quire_policy_aging, "-uu"));
    CHECK(age_after(&quire_policy_aging, "") == 0);
    CHECK(age_after(&quire_policy_aging, "u") == age_after(&quire_policy_aging, "---u"));
    CHECK(age_after(&quire_policy_aging, "uu-") < quire_policy_aging.old);
    CHECK(age_after(&quire_policy_aging, "u-") >= quire_policy_aging.old);
    CHECK(age_after(&quire_policy_aging, "uu--") >= quire_policy_aging.old);
}

/* Goal: the clock remembers one pass.  Method: histories that end alike. */
static void clock_is_one_bit(void)
{
    CHECK(age_after(&quire_policy_clock, "u") == age_after(&quire_policy_clock, "--u"));
    CHECK(age_after(&quire_policy_clock, "-") == age_after(&quire_policy_clock, "uu-"));
    CHECK(age_after(&quire_policy_clock, "uu-") >= quire_policy_clock.old);
}

CHECK_MAIN("unit.policy", TEST(promises), TEST(aging_is_a_history), TEST(clock_is_one_bit))
