/* A 32-bit program without any library: a server whose calls all go through int 0x80.
 *
 * In: nothing; it listens on 127.0.0.1:8032. Out: for each connection it reads once and writes ANSWER, with calls between whose numbers are
 * others' in the 64-bit table; it ends after CONNECTIONS of them. Its status is 0, or the step that failed.
 */

#define CONNECTIONS 20

/* arch/x86/entry/syscalls/syscall_32.tbl; what the same number is in the 64-bit table. */
enum {
    EXIT = 1,        /* write */
    READ = 3,        /* close */
    WRITE = 4,       /* stat */
    CLOSE = 6,       /* lstat */
    GETPID = 20,     /* writev */
    DUP = 41,        /* socket */
    TIMES = 43,      /* accept */
    BRK = 45,        /* recvfrom */
    SOCKETCALL = 102 /* getuid */
};

/* Calls of socketcall, include/uapi/linux/net.h. */
enum { SOCKET = 1, BIND = 2, LISTEN = 4, ACCEPT = 5, SETSOCKOPT = 14 };

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

static int call(int number, int first, int second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

static int socket_call(int what, int first, int second, int third, int fourth, int fifth)
{
    int arguments[5] = {first, second, third, fourth, fifth};
    return call(SOCKETCALL, what, (int)arguments, 0);
}

static void end(int status)
{
    call(EXIT, status, 0, 0);
}

void _start(void)
{
    /* struct sockaddr_in: AF_INET, port 8032 and 127.0.0.1 in network order. */
    unsigned char address[16] = {2, 0, 8032 >> 8, 8032 & 255, 127, 0, 0, 1};
    char bytes[256];
    int one = 1;
    int listener = socket_call(SOCKET, 2, 1, 0, 0, 0);
    if (listener < 0)
        end(1);
    socket_call(SETSOCKOPT, listener, 1, 2, (int)&one, sizeof one);
    if (socket_call(BIND, listener, (int)address, sizeof address, 0, 0) < 0)
        end(2);
    if (socket_call(LISTEN, listener, 16, 0, 0, 0) < 0)
        end(3);
    for (int served = 0; served < CONNECTIONS; served++) {
        int connection = socket_call(ACCEPT, listener, 0, 0, 0, 0);
        if (connection < 0)
            end(4);
        call(GETPID, 0, 0, 0);
        call(TIMES, 0, 0, 0);
        call(BRK, 0, 0, 0);
        call(CLOSE, call(DUP, connection, 0, 0), 0, 0);
        if (call(READ, connection, (int)bytes, sizeof bytes) <= 0)
            end(5);
        if (call(WRITE, connection, (int)ANSWER, sizeof ANSWER - 1) != sizeof ANSWER - 1)
            end(6);
        call(CLOSE, connection, 0, 0);
    }
    end(0);
}
