/*
 * bench list                   group, name and rounds of each program, a line each
 * bench prepare NAME PERMILLE  make the files that the program reads
 * bench run NAME PERMILLE      run a program for so many thousandths of its rounds; prints `result NAME CHECKSUM NANOSECONDS PROCESSOR`:
 *                                nanoseconds by the clock, and of processor time of the program and its children
 * bench nothing                what the exec benchmark executes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include "bench.h"

const char *own_path;

static const struct program *const groups[] = {integer_programs, float_programs, x87_programs, memory_programs, kernel_programs, tool_programs};

void fail(const char *what) {
  perror(what);
  exit(3);
}

void *buffer(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail("mmap");
  return p;
}

static long long processor_time(int who) {
  struct rusage usage;
  if (getrusage(who, &usage)) fail("getrusage");
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

int main(int argc, char **argv) {
  own_path = argv[0];
  if (argc == 2 && !strcmp(argv[1], "nothing")) return 7;
  int list = argc == 2 && !strcmp(argv[1], "list");
  int prepare = argc == 4 && !strcmp(argv[1], "prepare");
  if (!list && !prepare && !(argc == 4 && !strcmp(argv[1], "run"))) return 2;
  for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++)
    for (const struct program *p = groups[g]; p->name; p++) {
      if (list) {
        printf("%s %s %ld\n", p->group, p->name, p->rounds);
        continue;
      }
      if (strcmp(p->name, argv[2])) continue;
      long rounds = p->rounds * atol(argv[3]) / 1000;
      if (rounds < 1) rounds = 1;
      if (prepare) {
        if (p->prepare) p->prepare(rounds);
        return 0;
      }
      struct timespec start, end;
      clock_gettime(CLOCK_MONOTONIC, &start);
      uint64_t sum = p->run(rounds);
      clock_gettime(CLOCK_MONOTONIC, &end);
      printf("result %s %016llx %lld %lld\n", p->name, (unsigned long long)sum, (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec,
             processor_time(RUSAGE_SELF) + processor_time(RUSAGE_CHILDREN));
      return 0;
    }
  return list ? 0 : 2;
}
