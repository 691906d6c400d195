// Writes memory in a vm of the lab at a commanded rate, and says when it finds anything other than what it wrote.
//
//   writer FILE        FILE holds "RATE SET HELD": MiB per second, MiB that are written over and over, and MiB that are
//                      written once and held, as a vm holds what it has read; read every second
//
// Every page of the set begins with the number of the round it was last written in and ends with that and its own number,
// so that a page that a migration lost, tore or brought twice is found. A line "WRITER-OK rounds" or "WRITER-BAD page" goes
// to the console after each look over the whole set.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t), SLICE_MS = 20, SET_MAX = 4096 };

static uint64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t mixed(uint64_t round, uint64_t page) {
    uint64_t x = round * 0x9e3779b97f4a7c15u ^ page * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 31;
}

static void write_page(uint64_t *page, uint64_t round, uint64_t number) {
    page[0] = round;
    page[WORDS / 2] = ~round;
    page[WORDS - 1] = mixed(round, number);
}

static int is_whole(const uint64_t *page, uint64_t number) {
    return page[WORDS / 2] == ~page[0] && page[WORDS - 1] == mixed(page[0], number);
}

// Memory that is held: no two of its pages are alike, and none is of zeros. Once held it is never given back.
static void hold(unsigned mib) {
    static unsigned held;
    if (mib <= held) return;
    uint64_t pages = (uint64_t)(mib - held) << 8;
    uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    for (uint64_t page = 0; page < pages; page++) write_page(memory + page * WORDS, 1, page);
    held = mib;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "writer FILE\n");
        return 2;
    }
    uint64_t *set = NULL, pages = 0, next = 0, round = 1;
    uint64_t *rounds = NULL;
    unsigned rate = 0, wanted = 0;
    uint64_t looked = 0, last = now_ms();
    double due = 0;
    for (;;) {
        uint64_t at = now_ms();
        if (at - looked >= 1000) {
            looked = at;
            FILE *file = fopen(arguments[1], "r");
            unsigned new_rate = 0, new_set = 0, held = 0;
            if (file && fscanf(file, "%u %u %u", &new_rate, &new_set, &held) >= 2 && new_set <= SET_MAX) {
                rate = new_rate;
                hold(held);
                if (new_set != wanted) {
                    if (set) munmap(set, pages * PAGE);
                    free(rounds);
                    wanted = new_set;
                    pages = (uint64_t)new_set << 8;
                    next = 0;
                    set = pages ? mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
                    rounds = pages ? calloc(pages, sizeof *rounds) : NULL;
                    if (pages && (set == MAP_FAILED || !rounds)) {
                        puts("WRITER-BAD no memory");
                        return 1;
                    }
                    for (uint64_t page = 0; page < pages; page++) {
                        write_page(set + page * WORDS, round, page);
                        rounds[page] = round;
                    }
                }
            }
            if (file) fclose(file);
        }
        due += (double)(at - last) * rate * 256 / 1000;
        if (due > 256.0 * (rate + 1)) due = 256.0 * (rate + 1);
        last = at;
        for (; pages && due >= 1; due--) {
            uint64_t *page = set + next * WORDS;
            if (rounds[next] != page[0] || !is_whole(page, next)) {
                printf("WRITER-BAD page %llu\n", (unsigned long long)next);
                fflush(stdout);
                return 1;
            }
            write_page(page, ++round, next);
            rounds[next] = round;
            if (++next == pages) {
                next = 0;
                printf("WRITER-OK %llu\n", (unsigned long long)(round / pages));
                fflush(stdout);
            }
        }
        usleep(SLICE_MS * 1000);
    }
}
