/* A tap that records nothing: what passing lines on costs by itself, between a client and the server it is given. */
#include <poll.h>
#include <unistd.h>

static char bytes[1 << 16];

static int pass_on(int from, int to) {
    ssize_t count = read(from, bytes, sizeof bytes);
    if (count <= 0) return 0;
    for (ssize_t at = 0, done; at < count; at += done)
        if ((done = write(to, bytes + at, count - at)) <= 0) return 0;
    return 1;
}

int main(int argc, char **argv) {
    int to[2], from[2];
    if (argc < 2 || pipe(to) || pipe(from)) return 2;
    if (!fork()) {
        dup2(to[0], 0), dup2(from[1], 1);
        close(to[0]), close(to[1]), close(from[0]), close(from[1]);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    struct pollfd ends[2] = {{0, POLLIN, 0}, {from[0], POLLIN, 0}};
    while (poll(ends, 2, -1) > 0) {
        if (ends[1].revents && !pass_on(from[0], 1)) return 0;
        if (ends[0].revents && !pass_on(0, to[1])) close(to[1]), ends[0].fd = -1;
    }
    return 1;
}
