// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapped files: pages of T1 itself, through fs/dax.
 */

#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include "zuf.h"

static vm_fault_t insert_or_allow(struct vm_fault *vmf, unsigned long pfn)
{
	if (!(vmf->flags & FAULT_FLAG_ORIG_PTE_VALID) ||
	    !pte_present(vmf->orig_pte))
		return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	/* A store to what is mapped: mm makes it writable. */
	if (pte_pfn(vmf->orig_pte) == pfn)
		return 0;
	unmap_mapping_range(vmf->vma->vm_file->f_mapping,
			    (loff_t)vmf->pgoff << PAGE_SHIFT, PAGE_SIZE, 0);
	return VM_FAULT_NOPAGE;
}

/*
 * In memory-backed mounts there is no DAX device: pages go in one by one, and
 * read-only at first.
 */
static vm_fault_t memory_fault(struct vm_fault *vmf, bool write)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	const struct iomap_ops *ops = write ? &zuf_write_iomap_ops :
					      &zuf_read_iomap_ops;
	struct zuf_t1 *t1 = ZUF_SB(inode->i_sb)->t1;
	loff_t pos = (loff_t)vmf->pgoff << PAGE_SHIFT;
	struct iomap iomap = {};
	vm_fault_t ret;
	u64 block;
	int err;

	if (pos >= i_size_read(inode))
		return VM_FAULT_SIGBUS;
	err = ops->iomap_begin(inode, pos, PAGE_SIZE, 0, &iomap, NULL);
	if (err)
		return vmf_error(err);
	if (iomap.type == IOMAP_HOLE) {
		/* No shared page of zeroes here: have a block of them. */
		ops->iomap_end(inode, pos, PAGE_SIZE, 0, 0, &iomap);
		ops = &zuf_write_iomap_ops;
		err = ops->iomap_begin(inode, pos, PAGE_SIZE, 0, &iomap, NULL);
		if (err)
			return vmf_error(err);
	}
	block = iomap.addr >> ZUF_BLOCK_SHIFT;
	ret = insert_or_allow(vmf, zuf_t1_pfn(t1, &t1->devs[0], block));
	ops->iomap_end(inode, pos, PAGE_SIZE, PAGE_SIZE, 0, &iomap);
	return ret;
}

static vm_fault_t dax_fault(struct vm_fault *vmf, unsigned int order, bool write)
{
	const struct iomap_ops *ops = write ? &zuf_write_iomap_ops :
					      &zuf_read_iomap_ops;
	vm_fault_t ret;
	pfn_t pfn;

	ret = dax_iomap_fault(vmf, order, &pfn, NULL, ops);
	if (ret & VM_FAULT_NEEDDSYNC)
		ret = dax_finish_sync_fault(vmf, order, pfn);
	return ret;
}

/* Something is mapped there, and it is not known to be this file's alone. */
static bool is_mapped_clean(struct inode *inode, pgoff_t index)
{
	struct xarray *xa = &inode->i_mapping->i_pages;

	return xa_load(xa, index) && !xa_get_mark(xa, index, PAGECACHE_TAG_DIRTY);
}

/*
 * First store to a block that is mapped for reading. If it is shared with
 * another file the server allocates a new one, and fs/dax would go on with
 * the old one: forget that first, and keep readers from bringing it back.
 */
static vm_fault_t dax_replace_fault(struct vm_fault *vmf, unsigned int order)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	vm_fault_t ret;

	filemap_invalidate_lock(mapping);
	invalidate_inode_pages2_range(mapping, vmf->pgoff, vmf->pgoff);
	ret = dax_fault(vmf, order, true);
	filemap_invalidate_unlock(mapping);
	return ret;
}

static vm_fault_t zuf_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	bool write = (vmf->flags & FAULT_FLAG_WRITE) &&
		     (vmf->vma->vm_flags & VM_SHARED);
	vm_fault_t ret;

	if (write) {
		sb_start_pagefault(inode->i_sb);
		file_update_time(vmf->vma->vm_file);
	}
	if (ZUF_SB(inode->i_sb)->t1->is_memory) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		ret = order ? VM_FAULT_FALLBACK : memory_fault(vmf, write);
		filemap_invalidate_unlock_shared(inode->i_mapping);
	} else if (write && is_mapped_clean(inode, vmf->pgoff)) {
		ret = dax_replace_fault(vmf, order);
	} else {
		filemap_invalidate_lock_shared(inode->i_mapping);
		ret = dax_fault(vmf, order, write);
		filemap_invalidate_unlock_shared(inode->i_mapping);
	}
	if (write)
		sb_end_pagefault(inode->i_sb);
	return ret;
}

static vm_fault_t zuf_fault(struct vm_fault *vmf)
{
	return zuf_huge_fault(vmf, 0);
}

static void zuf_vma_close(struct vm_area_struct *vma)
{
	struct inode *inode = file_inode(vma->vm_file);
	struct zufs_ioc_mmap_close ioc = {
		.zus_ii = ZUF_I(inode)->zus_ii,
		.rw = vma->vm_flags & VM_WRITE ? ZUFS_RW_WRITE : 0,
	};

	if (atomic_dec_and_test(&ZUF_I(inode)->mappings))
		zuf_call_must(ZUF_SB(inode->i_sb), ZUFS_OP_MMAP_CLOSE, &ioc.hdr,
			      sizeof(ioc), 0);
}

static void zuf_vma_open(struct vm_area_struct *vma)
{
	atomic_inc(&ZUF_I(file_inode(vma->vm_file))->mappings);
}

static const struct vm_operations_struct zuf_vm_ops = {
	.open		= zuf_vma_open,
	.close		= zuf_vma_close,
	.fault		= zuf_fault,
	.huge_fault	= zuf_huge_fault,
	.page_mkwrite	= zuf_fault,
	.pfn_mkwrite	= zuf_fault,
};

/**
 * zuf_file_mmap - map a file
 * @file: the file
 * @vma: where
 *
 * Return: 0, or -EOPNOTSUPP for MAP_SYNC on memory that is not persistent.
 */
int zuf_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct zuf_sb_info *sbi = ZUF_SB(file_inode(file)->i_sb);
	struct dax_device *dax_dev = sbi->t1->devs[0].dax_dev;

	if (sbi->t1->is_memory) {
		if (vma->vm_flags & VM_SYNC)
			return -EOPNOTSUPP;
		/* Raw frames can not be copied on write. */
		if (is_cow_mapping(vma->vm_flags))
			return -ENODEV;
		vm_flags_set(vma, VM_PFNMAP);
	} else {
		if (!daxdev_mapping_supported(vma, dax_dev))
			return -EOPNOTSUPP;
		vm_flags_set(vma, VM_HUGEPAGE);
	}
	file_accessed(file);
	vma->vm_ops = &zuf_vm_ops;
	zuf_vma_open(vma);
	return 0;
}
