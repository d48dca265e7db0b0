// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quotas: the server counts and refuses, this hands on what quotactl(2) asks.
 */

#include <linux/quotaops.h>
#include "zuf.h"

static int call_quota(struct super_block *sb, u32 command,
		      struct zufs_ioc_quota *ioc)
{
	ioc->zus_sbi = ZUF_SB(sb)->zus_sbi;
	ioc->command = command;
	return zuf_call(d_inode(sb->s_root), ZUFS_OP_QUOTA, &ioc->hdr,
			sizeof(*ioc), offsetof(struct zufs_ioc_quota, id));
}

static int fetch_quota(struct super_block *sb, u32 command, struct kqid *qid,
		       struct qc_dqblk *quota)
{
	struct zufs_ioc_quota ioc = {
		.type = qid->type,
		.id = from_kqid(sb->s_user_ns, *qid),
	};
	int err;

	/* What was freed is nobody's. */
	if (!zuf_wait_told(ZUF_SB(sb), false))
		return -EINTR;
	err = call_quota(sb, command, &ioc);
	if (err)
		return err;
	*qid = make_kqid(sb->s_user_ns, qid->type, ioc.id);
	if (!qid_valid(*qid))
		return zuf_bad_reply(ZUF_SB(sb), "owner of a quota");
	*quota = (struct qc_dqblk) {
		.d_spc_hardlimit = ioc.space_hard,
		.d_spc_softlimit = ioc.space_soft,
		.d_ino_hardlimit = ioc.inodes_hard,
		.d_ino_softlimit = ioc.inodes_soft,
		.d_space = ioc.space,
		.d_ino_count = ioc.inodes,
		.d_ino_timer = ioc.inodes_timer,
		.d_spc_timer = ioc.space_timer,
		.d_ino_warns = ioc.inodes_warns,
		.d_spc_warns = ioc.space_warns,
	};
	return 0;
}

static int zuf_get_dqblk(struct super_block *sb, struct kqid qid,
			 struct qc_dqblk *quota)
{
	return fetch_quota(sb, ZUFS_QUOTA_GET, &qid, quota);
}

static int zuf_get_nextdqblk(struct super_block *sb, struct kqid *qid,
			     struct qc_dqblk *quota)
{
	return fetch_quota(sb, ZUFS_QUOTA_GET_NEXT, qid, quota);
}

static int zuf_set_dqblk(struct super_block *sb, struct kqid qid,
			 struct qc_dqblk *quota)
{
	struct zufs_ioc_quota ioc = {
		.type = qid.type,
		.id = from_kqid(sb->s_user_ns, qid),
		.fields = quota->d_fieldmask,
		.space_hard = quota->d_spc_hardlimit,
		.space_soft = quota->d_spc_softlimit,
		.inodes_hard = quota->d_ino_hardlimit,
		.inodes_soft = quota->d_ino_softlimit,
		.inodes_timer = quota->d_ino_timer,
		.space_timer = quota->d_spc_timer,
		.inodes_warns = quota->d_ino_warns,
		.space_warns = quota->d_spc_warns,
	};

	return call_quota(sb, ZUFS_QUOTA_SET, &ioc);
}

static int zuf_get_state(struct super_block *sb, struct qc_state *state)
{
	int type, err;

	memset(state, 0, sizeof(*state));
	for (type = 0; type < MAXQUOTAS; type++) {
		struct qc_type_state *to = &state->s_state[type];
		struct zufs_ioc_quota ioc = { .type = type };

		err = call_quota(sb, ZUFS_QUOTA_STATE, &ioc);
		if (err == -ESRCH)
			continue;
		if (err)
			return err;
		/* There is no file for quotactl(2) to be told of. */
		to->flags = QCI_SYSFILE;
		if (ioc.state & ZUFS_QUOTA_ACCOUNTED)
			to->flags |= QCI_ACCT_ENABLED;
		if (ioc.state & ZUFS_QUOTA_ENFORCED)
			to->flags |= QCI_LIMITS_ENFORCED;
		to->spc_timelimit = ioc.space_timer;
		to->ino_timelimit = ioc.inodes_timer;
		state->s_incoredqs += ioc.ids;
	}
	return 0;
}

static int zuf_set_info(struct super_block *sb, int type, struct qc_info *info)
{
	struct zufs_ioc_quota ioc = {
		.type = type,
		.fields = info->i_fieldmask,
		.space_timer = info->i_spc_timelimit,
		.inodes_timer = info->i_ino_timelimit,
	};

	return call_quota(sb, ZUFS_QUOTA_SET_INFO, &ioc);
}

/* Counting is on for as long as the mount is. */
static int enforce(struct super_block *sb, u32 command, unsigned int flags)
{
	static const unsigned int flag[MAXQUOTAS] = {
		FS_QUOTA_UDQ_ENFD, FS_QUOTA_GDQ_ENFD, FS_QUOTA_PDQ_ENFD,
	};
	int type, err = -EOPNOTSUPP;

	for (type = 0; type < MAXQUOTAS; type++) {
		struct zufs_ioc_quota ioc = { .type = type };

		if (!(flags & flag[type]))
			continue;
		err = call_quota(sb, command, &ioc);
		if (err)
			break;
	}
	return err;
}

static int zuf_quota_enable(struct super_block *sb, unsigned int flags)
{
	return enforce(sb, ZUFS_QUOTA_ENABLE, flags);
}

static int zuf_quota_disable(struct super_block *sb, unsigned int flags)
{
	return enforce(sb, ZUFS_QUOTA_DISABLE, flags);
}

static const struct quotactl_ops zuf_quotactl_ops = {
	.quota_enable	= zuf_quota_enable,
	.quota_disable	= zuf_quota_disable,
	.set_info	= zuf_set_info,
	.get_dqblk	= zuf_get_dqblk,
	.get_nextdqblk	= zuf_get_nextdqblk,
	.set_dqblk	= zuf_set_dqblk,
	.get_state	= zuf_get_state,
};

/**
 * zuf_quota_init - have quotactl(2) come here
 * @sb: a mount that counts
 */
void zuf_quota_init(struct super_block *sb)
{
	BUILD_BUG_ON((ZUFS_QUOTA_INODES_SOFT ^ QC_INO_SOFT) |
		     (ZUFS_QUOTA_INODES_HARD ^ QC_INO_HARD) |
		     (ZUFS_QUOTA_SPACE_SOFT ^ QC_SPC_SOFT) |
		     (ZUFS_QUOTA_SPACE_HARD ^ QC_SPC_HARD) |
		     (ZUFS_QUOTA_INODES_TIMER ^ QC_INO_TIMER) |
		     (ZUFS_QUOTA_SPACE_TIMER ^ QC_SPC_TIMER) |
		     (ZUFS_QUOTA_INODES_WARNS ^ QC_INO_WARNS) |
		     (ZUFS_QUOTA_SPACE_WARNS ^ QC_SPC_WARNS));
	sb->s_qcop = &zuf_quotactl_ops;
	sb->s_quota_types = QTYPE_MASK_USR | QTYPE_MASK_GRP | QTYPE_MASK_PRJ;
}

/**
 * zuf_quota_chown - let the server refuse a new owner, and count for him
 * @idmap: of the mount that it is asked through
 * @inode: the inode, its lock held
 * @attr: with the owner
 *
 * Return: 0 or -errno, -EDQUOT when the new owner has no room.
 */
int zuf_quota_chown(struct mnt_idmap *idmap, struct inode *inode,
		    const struct iattr *attr)
{
	struct user_namespace *ns = i_user_ns(inode);
	struct zufs_ioc_quota ioc = {};

	if (!inode->i_sb->s_qcop || !(attr->ia_valid & (ATTR_UID | ATTR_GID)))
		return 0;
	ioc.zus_ii = ZUF_I(inode)->zus_ii;
	ioc.id = i_uid_read(inode);
	ioc.gid = i_gid_read(inode);
	/* Who may give away what is not his may go beyond limits. */
	if (has_capability_noaudit(current, CAP_FOWNER))
		ioc.fields = ZUFS_IOC_CAP_ADMIN;
	if (attr->ia_valid & ATTR_UID)
		ioc.id = from_kuid(ns, from_vfsuid(idmap, ns, attr->ia_vfsuid));
	if (attr->ia_valid & ATTR_GID)
		ioc.gid = from_kgid(ns, from_vfsgid(idmap, ns, attr->ia_vfsgid));
	return call_quota(inode->i_sb, ZUFS_QUOTA_CHOWN, &ioc);
}
