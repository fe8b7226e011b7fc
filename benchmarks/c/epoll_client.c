/* epoll_client ADDRESS PORT AT_ONCE < SOURCES: connect from each source (one address a line), read until the
 * server closes, close. Prints how many were closed without a byte, and the seconds that all of it took.
 *
 * What a client in C can do: the yardstick for the one of the harness. It binds, connects and checks the source
 * address as that does; it judges nothing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000000, EVENTS = 256 };

static struct sockaddr_in6 target;
static int polling;

static void fail(const char *what)
{
    fprintf(stderr, "epoll_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void begin(const struct in6_addr *source)
{
    int yes = 1, sock = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0)
        fail("socket");
    struct sockaddr_in6 from = {.sin6_family = AF_INET6, .sin6_addr = *source}, used;
    socklen_t length = sizeof used;
    setsockopt(sock, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, &yes, sizeof yes);
    if (bind(sock, (struct sockaddr *)&from, sizeof from) < 0)
        fail("bind");
    if (connect(sock, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        fail("connect");
    if (getsockname(sock, (struct sockaddr *)&used, &length) < 0 ||
        memcmp(&used.sin6_addr, source, sizeof *source) != 0)
        fail("another source address");
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = sock};
    if (epoll_ctl(polling, EPOLL_CTL_ADD, sock, &event) < 0)
        fail("epoll_ctl");
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: epoll_client ADDRESS PORT AT_ONCE < SOURCES\n");
        return 2;
    }
    target.sin6_family = AF_INET6;
    target.sin6_port = htons((unsigned short)atoi(argv[2]));
    if (inet_pton(AF_INET6, argv[1], &target.sin6_addr) != 1) {
        fprintf(stderr, "epoll_client: %s is no IPv6 address\n", argv[1]);
        return 2;
    }
    struct in6_addr *sources = malloc(MOST * sizeof *sources);
    char line[128];
    int count = 0, next = 0, active = 0, silent = 0, at_once = atoi(argv[3]);
    while (sources && count < MOST && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (inet_pton(AF_INET6, line, &sources[count]) == 1)
            count++;
    }
    polling = epoll_create1(EPOLL_CLOEXEC);
    double began = seconds();
    while (next < count || active > 0) {
        for (; next < count && active < at_once; next++, active++)
            begin(&sources[next]);
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(polling, events, EVENTS, 10000);
        if (ready <= 0)
            fail("epoll_wait");
        for (int one = 0; one < ready; one++) {
            char dropped[512];
            ssize_t got = recv(events[one].data.fd, dropped, sizeof dropped, 0);
            if (got > 0 || (got < 0 && errno == EAGAIN))
                continue;
            silent += got == 0;
            close(events[one].data.fd);
            active--;
        }
    }
    printf("%d %.6f\n", silent, seconds() - began);
    return 0;
}
