/* A wall clock that can be set for one program and its children: the library for LD_PRELOAD that
   tests/live/test_faults.py makes. The file $CLOCK_OFFSET_FILE holds, as 64 bits, how many seconds
   ahead it is. The monotonic clock stays as it is, as when the real one is set. */

void *dlsym(void *handle, const char *name);
char *getenv(const char *name);
int open(const char *path, int flags, ...);
long pread(int file, void *to, unsigned long size, long offset);

struct pair { long seconds, fraction; };

static long ahead(void)
{
    static int file = -1;
    long seconds = 0;
    if (file < 0)
        file = open(getenv("CLOCK_OFFSET_FILE"), 02000000 /* O_CLOEXEC */);
    pread(file, &seconds, sizeof seconds, 0);
    return seconds;
}

int clock_gettime(int clock, struct pair *now)
{
    static int (*real)(int, struct pair *);
    if (!real)
        real = dlsym((void *)-1 /* RTLD_NEXT */, "clock_gettime");
    int result = real(clock, now);
    if (clock == 0 /* CLOCK_REALTIME */ && result == 0)
        now->seconds += ahead();
    return result;
}

int gettimeofday(struct pair *now, void *zone)
{
    int result = clock_gettime(0, now);
    now->fraction /= 1000;
    return result;
}

long time(long *where)
{
    struct pair now;
    clock_gettime(0, &now);
    if (where)
        *where = now.seconds;
    return now.seconds;
}
