/* accept_close ADDRESS PORT: listen there (port 0: any), print the port, then accept and close for ever.
 *
 * The fastest server that a client can meet: what a benchmark measures against it is the client. It ends with
 * its standard input, so that none is left behind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static void fail(const char *what)
{
    fprintf(stderr, "accept_close: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *end_with_input(void *unused)
{
    char dropped[256];
    while (read(0, dropped, sizeof dropped) > 0)
        ;
    exit(0);
    return unused;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: accept_close ADDRESS PORT\n");
        return 2;
    }
    struct sockaddr_storage at = {0};
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&at;
    struct sockaddr_in *four = (struct sockaddr_in *)&at;
    socklen_t length;
    if (inet_pton(AF_INET6, argv[1], &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((unsigned short)atoi(argv[2]));
        length = sizeof *six;
    } else if (inet_pton(AF_INET, argv[1], &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((unsigned short)atoi(argv[2]));
        length = sizeof *four;
    } else {
        fprintf(stderr, "accept_close: %s is no address\n", argv[1]);
        return 2;
    }
    int yes = 1, listener = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (at.ss_family == AF_INET6) {
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
        setsockopt(listener, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, &yes, sizeof yes);
    }
    if (bind(listener, (struct sockaddr *)&at, length) < 0)
        fail("bind");
    if (listen(listener, BACKLOG) < 0)
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&at, &length) < 0)
        fail("getsockname");
    printf("%d\n", ntohs(at.ss_family == AF_INET6 ? six->sin6_port : four->sin_port));
    fflush(stdout);
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, end_with_input, NULL) != 0)
        fail("pthread_create");
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0)
            close(client);
        else if (errno != EINTR && errno != ECONNABORTED)
            fail("accept");
    }
}
