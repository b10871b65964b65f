/*
 * Small exchanges with a server that sends back what it gets.
 *
 *   network rr ADDRESS PORT COUNT            COUNT bytes there and back, one at a time, through one connection
 *   network connect ADDRESS PORT COUNT N     COUNT connections, each with one byte there and back, from N processes at a time
 *   network serve ADDRESS PORT               such a server: goes on in the background once it listens
 *
 * Prints how many exchanges there were, and the nanoseconds that they took; `rr` also "latency: MEAN MEDIAN P99", nanoseconds of an exchange, the last one of which 1 in
 * 100 exceeds. Status 1 and a message for the first that failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server;

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what, long at)
{
    fprintf(stderr, "%s at %ld: %s\n", what, at, strerror(errno));
    exit(1);
}

static int open_connection(long at)
{
    int one = 1;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0)
        fail("socket", at);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(s, (struct sockaddr *)&server, sizeof server) < 0)
        fail("connect", at);
    return s;
}

static void exchange(int s, long at)
{
    char sent = (char)at, got = 0;
    if (write(s, &sent, 1) != 1)
        fail("write", at);
    if (read(s, &got, 1) != 1)
        fail("read", at);
    if (got != sent) {
        errno = EBADMSG;
        fail("answer", at);
    }
}

static void connections(long count)
{
    char rest;
    for (long i = 0; i < count; i++) {
        int s = open_connection(i);
        exchange(s, i);
        /* The server's end comes before this one's: its side remembers the connection. */
        if (shutdown(s, SHUT_WR) < 0 || read(s, &rest, 1) != 0)
            fail("end", i);
        close(s);
    }
}

static int shorter(const void *one, const void *other)
{
    long long a = *(const long long *)one, b = *(const long long *)other;
    return (a > b) - (a < b);
}

/* The time that 1 in `part` of `count` sorted times exceeds. */
static long long exceeded_by(const long long *times, long count, long part)
{
    return times[count - 1 - count / part];
}

static long long one_at_a_time(long count)
{
    long long *times = malloc(count * sizeof *times);
    if (times == NULL)
        fail("malloc", count);
    int s = open_connection(0);
    exchange(s, 0);
    long long begin = now(), last = begin;
    for (long i = 0; i < count; i++) {
        exchange(s, i);
        long long t = now();
        times[i] = t - last;
        last = t;
    }
    close(s);
    qsort(times, count, sizeof *times, shorter);
    printf("latency: %lld %lld %lld\n", (last - begin) / count, exceeded_by(times, count, 2), exceeded_by(times, count, 100));
    return last - begin;
}

/* One process for all connections, like the server of the host. */
static void serve(void)
{
    enum { MOST = 64 };
    struct pollfd sockets[MOST];
    int count = 1, one = 1;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0)
        fail("socket", 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (struct sockaddr *)&server, sizeof server) < 0 || listen(s, MOST) < 0)
        fail("listen", 0);
    if (fork() != 0)
        return;
    sockets[0].fd = s;
    for (;;) {
        sockets[0].events = count < MOST ? POLLIN : 0;
        if (poll(sockets, count, -1) < 0)
            fail("poll", 0);
        for (int i = count - 1; i > 0; i--) {
            char bytes[512];
            ssize_t n;
            if (sockets[i].revents == 0)
                continue;
            n = read(sockets[i].fd, bytes, sizeof bytes);
            if (n > 0 && write(sockets[i].fd, bytes, n) == n)
                continue;
            close(sockets[i].fd);
            sockets[i] = sockets[--count];
        }
        if (sockets[0].revents != 0 && (s = accept(sockets[0].fd, NULL, NULL)) >= 0) {
            setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            sockets[count].fd = s;
            sockets[count].revents = 0;
            sockets[count++].events = POLLIN;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)atoi(argv[3]));
    if (inet_pton(AF_INET, argv[2], &server.sin_addr) != 1)
        return 2;
    if (strcmp(argv[1], "serve") == 0) {
        serve();
        return 0;
    }
    long count = argc > 4 ? atol(argv[4]) : 0;
    if (count < 1)
        return 2;
    long long begin = now(), taken;
    if (strcmp(argv[1], "rr") == 0)
        taken = one_at_a_time(count);
    else {
        int n = argc > 5 ? atoi(argv[5]) : 1;
        for (int i = 0; i < n; i++)
            if (fork() == 0) {
                connections(count / n);
                return 0;
            }
        for (int i = 0; i < n; i++) {
            int status;
            if (wait(&status) < 0 || status != 0)
                return 1;
        }
        count = count / n * n;
        taken = now() - begin;
    }
    printf("%ld exchanges in %lld ns\n", count, taken);
    return 0;
}
