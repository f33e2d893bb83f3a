/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole user space of a guest of the lab: a witness of its own life.
 *
 * Each start takes the next free slot of an area of the disk and writes into
 * it, once a second and through to the platter, which server it is, which
 * start, and when it began and was last seen alive. Two guests that write to
 * one disk leave two slots whose times overlap. lab/evidence.py reads them.
 *
 * It is C because a shell would fork three programs for each beat, which an
 * emulated processor feels.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <linux/rtc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef GRND_INSECURE
#define GRND_INSECURE 4
#endif

/* SLOT, AREA and AREA_AT come from lab/guest.py, which reads what is written
 * here. A slot is as large as any disk's sector, so a write is whole. */
#define BUTTONS 8
#define MARK "nova-ha-lab-run"

static char *slot;
static int disk;
static int rtc;
static char uuid[64] = "unknown";
static char run[17];
static long number;
static long long first;
static long beats, moved;
static struct pollfd button[BUTTONS];
static int buttons;

static void fail(const char *what)
{
	printf("GUEST-FAILED uuid=%s %s: %s\n", uuid, what, strerror(errno));
	/* PID 1 must not end; the text stays readable on the console. */
	for (;;)
		pause();
}

/* The clock of the machine under all hosts, in whole seconds. The guest's own
 * clock would be off by as much as its start was disturbed by others. */
static long long now(void)
{
	struct rtc_time read;
	struct tm time;

	if (ioctl(rtc, RTC_RD_TIME, &read))
		fail("read the clock");
	time = (struct tm){
		.tm_sec = read.tm_sec,
		.tm_min = read.tm_min,
		.tm_hour = read.tm_hour,
		.tm_mday = read.tm_mday,
		.tm_mon = read.tm_mon,
		.tm_year = read.tm_year,
	};
	return timegm(&time);
}

static void load_modules(void)
{
	glob_t found;

	/* Their names begin with the order they must be loaded in. */
	if (glob("/modules/*.ko", 0, NULL, &found))
		fail("no modules");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		int module = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);

		if (module < 0 || syscall(SYS_finit_module, module, "", 0))
			fail(found.gl_pathv[i]);
		close(module);
	}
}

static void read_uuid(void)
{
	int file = open("/sys/class/dmi/id/product_uuid", O_RDONLY);
	ssize_t length = file < 0 ? 0 : read(file, uuid, sizeof(uuid) - 1);

	if (length > 0) {
		uuid[length] = 0;
		uuid[strcspn(uuid, "\n")] = 0;
	}
	close(file);
}

static void open_disk(void)
{
	struct timespec pause = {0, 10000000};

	for (int attempt = 0; attempt < 1000; attempt++) {
		disk = open("/dev/vda", O_RDWR | O_DIRECT | O_DSYNC);
		if (disk >= 0)
			return;
		nanosleep(&pause, NULL);
	}
	fail("/dev/vda");
}

static void read_slot(long index)
{
	if (pread(disk, slot, SLOT, AREA_AT + index * SLOT) != SLOT)
		fail("read the disk");
}

/* Take the next slot that nobody has written to. */
static void take_slot(void)
{
	while (number < AREA / SLOT) {
		read_slot(number++);
		if (!slot[0])
			return;
	}
	errno = ENOSPC;
	fail("every slot is taken");
}

static void beat(const char *end)
{
	char mine[32];

	if (beats) {
		read_slot(number - 1);
		snprintf(mine, sizeof(mine), " run=%s ", run);
		if (!strstr(slot, mine)) {
			/* Somebody else writes to this disk: leave them the
			 * slot, so that both of us can be seen. */
			moved++;
			take_slot();
		}
	}
	beats++;
	memset(slot, 0, SLOT);
	snprintf(slot, SLOT,
		 MARK " uuid=%s run=%s boot=%ld first=%lld last=%lld beats=%ld "
		 "moved=%ld end=%s\n",
		 uuid, run, number, first, now(), beats, moved, end);
	if (pwrite(disk, slot, SLOT, AREA_AT + (number - 1) * SLOT) != SLOT)
		fail("write the disk");
}

/* The power button is one of the input devices; which, depends. */
static void open_buttons(void)
{
	glob_t found;

	if (glob("/dev/input/event*", 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc && buttons < BUTTONS; i++) {
		button[buttons].events = POLLIN;
		button[buttons++].fd =
			open(found.gl_pathv[i], O_RDONLY | O_NONBLOCK);
	}
}

/* Wait for a second, or for the power button. */
static int button_pressed(void)
{
	struct input_event event;

	if (poll(button, buttons, 1000) < 1)
		return 0;
	for (int i = 0; i < buttons; i++)
		while (read(button[i].fd, &event, sizeof(event)) > 0)
			if (event.type == EV_KEY && event.code == KEY_POWER)
				return 1;
	return 0;
}

int main(void)
{
	unsigned long long chance = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	load_modules();
	read_uuid();
	rtc = open("/dev/rtc0", O_RDONLY);
	slot = aligned_alloc(SLOT, SLOT);
	open_disk();
	/* The kernel may have no entropy yet; to be unique is enough. */
	syscall(SYS_getrandom, &chance, sizeof(chance), GRND_INSECURE);
	chance ^= __builtin_ia32_rdtsc() * 0x9e3779b97f4a7c15ULL;
	snprintf(run, sizeof(run), "%016llx", chance);
	first = now();
	take_slot();
	beat("none");
	printf("GUEST-UP uuid=%s boots=%ld run=%s time=%lld\n", uuid, number,
	       run, first);
	open_buttons();
	while (!button_pressed())
		beat("none");
	beat("button");
	printf("GUEST-DOWN uuid=%s boots=%ld run=%s\n", uuid, number, run);
	return reboot(RB_POWER_OFF);
}
