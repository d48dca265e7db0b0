// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: what quotactl(2) is asked reaches the server as it should, and what
 * the server says comes back; a new owner is the server's to refuse.
 */
#define _GNU_SOURCE
#include <linux/quota.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fixture.h"
#include "guest.h"
#include "probe.h"

#define SOME_ID		4711
#define KIB		1024

static int start(int knows_quota)
{
	CHECK_PASS(fixture_prepare());
	control->features = ZUFS_FEATURE_RIDERS;
	control->knows_quota = knows_quota;
	return fixture_start();
}

static int set_up(void)
{
	return start(1);
}

static int ask(int command, int type, int id, void *arg)
{
	return syscall(SYS_quotactl, QCMD(command, type), options.devices[0], id,
		       arg);
}

/* Whether that is what the server was asked last. */
static int was_asked(unsigned int command, unsigned int type, unsigned int id)
{
	CHECK(control->quota_asked.command == command);
	CHECK(control->quota_asked.type == type);
	CHECK(control->quota_asked.id == id);
	return PASS;
}

static struct zufs_ioc_quota some_quota(void)
{
	return (struct zufs_ioc_quota) {
		.id = SOME_ID,
		.space_hard = 40 * KIB,
		.space_soft = 20 * KIB,
		.inodes_hard = 30,
		.inodes_soft = 10,
		.space = 24 * KIB,
		.inodes = 15,
		.inodes_timer = 1700000000,
		.space_timer = 5000000000,
	};
}

static int is_some_quota(const struct if_dqblk *quota)
{
	/* Blocks of 1 KiB, but for what is in use. */
	CHECK(quota->dqb_bhardlimit == 40 && quota->dqb_bsoftlimit == 20);
	CHECK(quota->dqb_ihardlimit == 30 && quota->dqb_isoftlimit == 10);
	CHECK(quota->dqb_curspace == 24 * KIB && quota->dqb_curinodes == 15);
	CHECK(quota->dqb_itime == 1700000000 && quota->dqb_btime == 5000000000);
	return PASS;
}

static int test_not_announced(void)
{
	struct if_dqblk quota;
	uint64_t before;

	CHECK_PASS(fixture_stop());
	CHECK_PASS(start(0));
	before = control->served_of[ZUFS_OP_QUOTA];
	CHECK_ERR(ask(Q_GETQUOTA, USRQUOTA, SOME_ID, &quota), ENOSYS);
	CHECK(!write_file(MNT "/f", "x", 1) && !chown(MNT "/f", 1, 1));
	CHECK(control->served_of[ZUFS_OP_QUOTA] == before);
	return PASS;
}

static int test_get(void)
{
	static const int types[] = { USRQUOTA, GRPQUOTA, PRJQUOTA };
	struct if_dqblk quota;
	unsigned int i;

	control->quota_answer = some_quota();
	for (i = 0; i < 3; i++) {
		memset(&quota, 0, sizeof(quota));
		CHECK(!ask(Q_GETQUOTA, types[i], SOME_ID, &quota));
		CHECK_PASS(was_asked(ZUFS_QUOTA_GET, types[i], SOME_ID));
		CHECK_PASS(is_some_quota(&quota));
	}
	control->quota_error = -ESRCH;
	CHECK_ERR(ask(Q_GETQUOTA, USRQUOTA, SOME_ID, &quota), ESRCH);
	return PASS;
}

static int test_get_next(void)
{
	struct if_nextdqblk next = {};

	control->quota_answer = some_quota();
	CHECK(!ask(Q_GETNEXTQUOTA, GRPQUOTA, 100, &next));
	CHECK_PASS(was_asked(ZUFS_QUOTA_GET_NEXT, GRPQUOTA, 100));
	CHECK(next.dqb_id == SOME_ID && next.dqb_curinodes == 15);
	control->quota_error = -ENOENT;
	CHECK_ERR(ask(Q_GETNEXTQUOTA, GRPQUOTA, 100, &next), ENOENT);
	return PASS;
}

/* No owner has the number -1. */
static int test_bad_owner(void)
{
	struct if_nextdqblk next;
	int lines = log_lines("bad reply: owner of a quota");

	control->quota_answer.id = -1;
	CHECK_ERR(ask(Q_GETNEXTQUOTA, USRQUOTA, 0, &next), EIO);
	CHECK(log_lines("bad reply: owner of a quota") == lines + 1);
	return PASS;
}

static int test_set(void)
{
	const struct zufs_ioc_quota *asked = &control->quota_asked;
	struct if_dqblk quota = {
		.dqb_bhardlimit = 8,
		.dqb_bsoftlimit = 4,
		.dqb_ihardlimit = 3,
		.dqb_isoftlimit = 2,
		.dqb_btime = 99,
		.dqb_valid = QIF_LIMITS,
	};

	CHECK(!ask(Q_SETQUOTA, USRQUOTA, SOME_ID, &quota));
	CHECK_PASS(was_asked(ZUFS_QUOTA_SET, USRQUOTA, SOME_ID));
	CHECK(asked->fields == (ZUFS_QUOTA_INODES_SOFT | ZUFS_QUOTA_INODES_HARD |
				ZUFS_QUOTA_SPACE_SOFT | ZUFS_QUOTA_SPACE_HARD));
	CHECK(asked->space_hard == 8 * KIB && asked->space_soft == 4 * KIB);
	CHECK(asked->inodes_hard == 3 && asked->inodes_soft == 2);

	quota.dqb_valid = QIF_BTIME;
	CHECK(!ask(Q_SETQUOTA, PRJQUOTA, SOME_ID, &quota));
	CHECK_PASS(was_asked(ZUFS_QUOTA_SET, PRJQUOTA, SOME_ID));
	CHECK(asked->fields == ZUFS_QUOTA_SPACE_TIMER);
	CHECK(asked->space_timer == 99);
	return PASS;
}

static int test_grace(void)
{
	const struct zufs_ioc_quota *asked = &control->quota_asked;
	struct if_dqinfo info = {};

	control->quota_answer.state = ZUFS_QUOTA_ACCOUNTED;
	control->quota_answer.space_timer = 100;
	control->quota_answer.inodes_timer = 200;
	CHECK(!ask(Q_GETINFO, USRQUOTA, 0, &info));
	CHECK(info.dqi_bgrace == 100 && info.dqi_igrace == 200);
	/* quota tools look for a file otherwise. */
	CHECK(info.dqi_flags & DQF_SYS_FILE);

	info.dqi_igrace = 300;
	info.dqi_valid = IIF_IGRACE;
	CHECK(!ask(Q_SETINFO, GRPQUOTA, 0, &info));
	CHECK(asked->command == ZUFS_QUOTA_SET_INFO && asked->type == GRPQUOTA);
	CHECK(asked->fields == ZUFS_QUOTA_INODES_TIMER);
	CHECK(asked->inodes_timer == 300);

	control->quota_error = -ESRCH;
	CHECK_ERR(ask(Q_GETINFO, USRQUOTA, 0, &info), ESRCH);
	control->quota_error = -EIO;
	CHECK_ERR(ask(Q_GETINFO, USRQUOTA, 0, &info), EIO);
	return PASS;
}

static int test_enforce(void)
{
	CHECK(!ask(Q_QUOTAON, USRQUOTA, 0, NULL));
	CHECK(control->quota_asked.command == ZUFS_QUOTA_ENABLE);
	CHECK(control->quota_asked.type == USRQUOTA);
	CHECK(!ask(Q_QUOTAOFF, PRJQUOTA, 0, NULL));
	CHECK(control->quota_asked.command == ZUFS_QUOTA_DISABLE);
	CHECK(control->quota_asked.type == PRJQUOTA);
	return PASS;
}

static int test_chown(void)
{
	const struct zufs_ioc_quota *asked = &control->quota_asked;
	struct stat st;
	uint64_t before;

	CHECK(!write_file(MNT "/f", "x", 1));
	before = control->served_of[ZUFS_OP_QUOTA];
	CHECK(!chmod(MNT "/f", 0600));
	CHECK(control->served_of[ZUFS_OP_QUOTA] == before);

	control->quota_error = -EDQUOT;
	CHECK_ERR(chown(MNT "/f", 1, 2), EDQUOT);
	CHECK(!stat(MNT "/f", &st) && !st.st_uid && !st.st_gid);
	control->quota_error = 0;
	CHECK(!chown(MNT "/f", 1, 2));
	CHECK(asked->command == ZUFS_QUOTA_CHOWN);
	CHECK(asked->id == 1 && asked->gid == 2);
	CHECK(asked->fields == ZUFS_IOC_CAP_ADMIN);
	CHECK(!chown(MNT "/f", -1, 3));
	CHECK(asked->id == 1 && asked->gid == 3);
	write_text("/proc/sys/vm/drop_caches", "2");
	CHECK(!stat(MNT "/f", &st) && st.st_uid == 1 && st.st_gid == 3);
	return PASS;
}

/* What was freed before counts no more. */
static int test_parked(void)
{
	struct if_dqblk quota;
	uint64_t before;

	CHECK(!write_file(MNT "/f", "x", 1));
	before = control->served_of[ZUFS_OP_FREE_INODE];
	CHECK(!unlink(MNT "/f"));
	CHECK(!ask(Q_GETQUOTA, USRQUOTA, 0, &quota));
	CHECK(control->served_of[ZUFS_OP_FREE_INODE] == before + 1);
	return PASS;
}

static const struct test tests[] = {
	{ "a server that does not know quotas", test_not_announced },
	{ "one owner", test_get },
	{ "the next owner", test_get_next },
	{ "an owner that can not be", test_bad_owner },
	{ "limits", test_set },
	{ "grace times", test_grace },
	{ "on and off", test_enforce },
	{ "a new owner", test_chown },
	{ "what was freed", test_parked },
	{ "nothing is leaked", nothing_leaked },
	{}
};

int main(int argc, char **argv)
{
	static const struct suite suite = {
		.tests = tests,
		.set_up = set_up,
		.tear_down = fixture_stop,
		.clean_up = fixture_clean_up,
	};

	return ktap_main(argc, argv, &suite);
}
