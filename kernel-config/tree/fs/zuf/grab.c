// SPDX-License-Identifier: GPL-2.0-only
/*
 * GRAB_PMEM: the memory of a mount, mapped flat into the server.
 *
 * Pages come in at the first touch, 2 MiB at a time where addresses allow. As
 * the mount goes, so do they: the server gets SIGBUS, not somebody else's
 * memory.
 */

#include <linux/pfn_t.h>
#include "zuf.h"

static int attach_grab(struct zuf_file *zf, u64 sb_id, struct md_dev_table *mdt)
{
	struct zuf_sb_info *sbi;

	guard(mutex)(&zuf_sbi_mutex);
	sbi = zuf_find_sbi(sb_id);
	if (!sbi || !sbi->t1 || sbi->root != zf->root)
		return -ENODEV;
	if (zf->sbi)
		return -EBUSY;
	*mdt = sbi->t1->mdt;
	zf->sbi = sbi;
	list_add(&zf->grab, &sbi->grabs);
	return 0;
}

/**
 * zuf_grab_pmem - GRAB_PMEM
 * @zf: a new file
 * @arg: of the ioctl
 *
 * Return: 0, -ENODEV for a mount that is not there, -EBUSY for a file that is
 * something else, -EFAULT.
 */
int zuf_grab_pmem(struct zuf_file *zf, struct zufs_ioc_pmem __user *arg)
{
	struct md_dev_table *mdt __free(kfree) = NULL;
	u64 sb_id;
	int err;

	if (get_user(sb_id, &arg->sb_id))
		return -EFAULT;
	err = zuf_set_role(zf, ZUF_ROLE_PMEM);
	if (err)
		return err;
	mdt = kmalloc(sizeof(*mdt), GFP_KERNEL);
	if (!mdt)
		return -ENOMEM;
	err = attach_grab(zf, sb_id, mdt);
	if (!err && (copy_to_user(&arg->mdt, mdt, sizeof(*mdt)) ||
		     put_user(0, &arg->hdr.err) || put_user(0, &arg->dev_index)))
		err = -EFAULT;
	return err;
}

static vm_fault_t insert_page(struct vm_fault *vmf, struct zuf_t1 *t1)
{
	struct zuf_t1_dev *dev = zuf_t1_dev(t1, vmf->pgoff);

	if (!dev)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vmf->vma, vmf->address,
			      zuf_t1_pfn(t1, dev, vmf->pgoff));
}

static vm_fault_t insert_huge(struct vm_fault *vmf, struct zuf_t1 *t1)
{
	unsigned long start = vmf->address & PMD_MASK;
	struct vm_area_struct *vma = vmf->vma;
	struct zuf_t1_dev *dev;
	unsigned long pfn;
	u64 block;

	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;
	block = linear_page_index(vma, start);
	dev = zuf_t1_dev(t1, block);
	if (!dev || t1->is_memory ||
	    block + PTRS_PER_PMD > dev->first + dev->blocks)
		return VM_FAULT_FALLBACK;
	pfn = zuf_t1_pfn(t1, dev, block);
	if (!IS_ALIGNED(pfn, PTRS_PER_PMD))
		return VM_FAULT_FALLBACK;
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV),
				  vma->vm_flags & VM_WRITE);
}

static vm_fault_t grab_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct zuf_file *zf = vmf->vma->vm_file->private_data;

	if (order != 0 && order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	/* Against zuf_grab_revoke(). */
	guard(mutex)(&zf->lock);
	if (!zf->sbi)
		return VM_FAULT_SIGBUS;
	return order ? insert_huge(vmf, zf->sbi->t1) :
		       insert_page(vmf, zf->sbi->t1);
}

static vm_fault_t grab_fault(struct vm_fault *vmf)
{
	return grab_huge_fault(vmf, 0);
}

static const struct vm_operations_struct grab_vm_ops = {
	.fault		= grab_fault,
	.huge_fault	= grab_huge_fault,
};

/**
 * zuf_grab_mmap - mmap of a pmem file
 * @zf: the file
 * @vma: any part of T1
 *
 * Return: 0, -ENXIO when the mount is gone, -EINVAL for more than there is.
 */
int zuf_grab_mmap(struct zuf_file *zf, struct vm_area_struct *vma)
{
	/* Takes the lock of the VMA, under which faults take that of the file. */
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTCOPY |
			  VM_DONTDUMP);
	vma->vm_ops = &grab_vm_ops;

	guard(mutex)(&zf->lock);
	if (!zf->sbi)
		return -ENXIO;
	if (vma->vm_pgoff + vma_pages(vma) > zf->sbi->t1->blocks)
		return -EINVAL;
	return 0;
}

/**
 * zuf_grab_release - the last of a pmem file is gone
 * @zf: the file
 */
void zuf_grab_release(struct zuf_file *zf)
{
	guard(mutex)(&zuf_sbi_mutex);
	list_del_init(&zf->grab);
	zf->sbi = NULL;
}

/**
 * zuf_grab_revoke - the mount goes: take its memory out of the server
 * @sbi: the mount
 */
void zuf_grab_revoke(struct zuf_sb_info *sbi)
{
	struct zuf_file *zf, *next;

	guard(mutex)(&zuf_sbi_mutex);
	list_for_each_entry_safe(zf, next, &sbi->grabs, grab) {
		scoped_guard(mutex, &zf->lock)
			zf->sbi = NULL;
		list_del_init(&zf->grab);
		unmap_mapping_range(zf->file->f_mapping, 0, 0, 1);
	}
}
