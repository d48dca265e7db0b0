// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapped files: pages of T1 itself, through fs/dax.
 */

#include <linux/iomap.h>
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

static vm_fault_t dax_fault(struct vm_fault *vmf, unsigned int order,
			    const struct iomap_ops *ops)
{
	vm_fault_t ret;
	pfn_t pfn;

	ret = dax_iomap_fault(vmf, order, &pfn, NULL, ops);
	if (ret & VM_FAULT_NEEDDSYNC)
		ret = dax_finish_sync_fault(vmf, order, pfn);
	return ret;
}

static vm_fault_t read_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret;

	filemap_invalidate_lock_shared(inode->i_mapping);
	if (!ZUF_SB(inode->i_sb)->t1->is_memory)
		ret = dax_fault(vmf, order, &zuf_read_iomap_ops);
	else
		ret = order ? VM_FAULT_FALLBACK : memory_fault(vmf, false);
	filemap_invalidate_unlock_shared(inode->i_mapping);
	return ret;
}

/* All of the page in the mapping and in the file: nothing is allocated for naught. */
static bool huge_page_fits(struct vm_fault *vmf, loff_t to)
{
	unsigned long start = vmf->address & PMD_MASK;
	struct vm_area_struct *vma = vmf->vma;

	return start >= vma->vm_start && start + PMD_SIZE <= vma->vm_end &&
	       !((linear_page_index(vma, start)) & (PTRS_PER_PMD - 1)) &&
	       to <= i_size_read(file_inode(vma->vm_file));
}

static bool is_dirty(struct address_space *mapping, pgoff_t index)
{
	return xa_get_mark(&mapping->i_pages, index, PAGECACHE_TAG_DIRTY);
}

/*
 * What is mapped for reading only may be, or have been, shared with another
 * file. It goes before a store: the server may allocate a new block in its
 * place and give the old one away, and fs/dax would stay with the old one.
 */
static void drop_clean(struct address_space *mapping, pgoff_t first,
		       unsigned int count, pgoff_t index)
{
	if (mapping_empty(mapping) || (count == 1 && is_dirty(mapping, index)))
		return;
	scoped_guard(mutex, &ZUF_SB(mapping->host->i_sb)->sharing)
		invalidate_inode_pages2_range(mapping, first,
					      first + count - 1);
}

/* What is mapped for writing is where fs/dax has it, whatever the server says. */
static int check_dirty(struct inode *inode, const struct zuf_blocks *run,
		       pgoff_t first, pgoff_t index)
{
	if (!is_dirty(inode->i_mapping, index) ||
	    (index - first < run->count &&
	     zuf_is_mapped_here(inode, run, index - first, index)))
		return 0;
	return zuf_bad_reply(ZUF_SB(inode->i_sb), "block that is mapped has moved");
}

/* Ask for the blocks of a write fault. */
static struct zufs_ioc_IO *get_writable(struct inode *inode, pgoff_t first,
					unsigned int count, pgoff_t index)
{
	struct zufs_ioc_IO *io;
	struct zuf_blocks run;

	io = zuf_get_blocks(inode, (loff_t)first << PAGE_SHIFT, count,
			    ZUFS_RW_MMAP | ZUFS_RW_WRITE);
	if (IS_ERR(io))
		return io;
	zuf_next_blocks(ZUF_SB(inode->i_sb)->t1, io, 0, &run);
	if (!check_dirty(inode, &run, first, index))
		return io;
	zuf_put_blocks(inode, io);
	return ERR_PTR(-EIO);
}

/*
 * The server allocates blocks for holes, and new ones for those that are
 * shared with another file. Nobody may map, or change, them meanwhile.
 */
static vm_fault_t write_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	pgoff_t first = vmf->pgoff & ~((1UL << order) - 1);
	loff_t from = (loff_t)first << PAGE_SHIFT;
	loff_t to = from + (PAGE_SIZE << order);
	bool memory = ZUF_SB(inode->i_sb)->t1->is_memory;
	struct zuf_blocks run;
	struct zufs_ioc_IO *io;
	vm_fault_t ret;

	if (vmf->pgoff >= DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE))
		return VM_FAULT_SIGBUS;
	if (order && (memory || !huge_page_fits(vmf, to)))
		return VM_FAULT_FALLBACK;
	drop_clean(inode->i_mapping, first, 1U << order, vmf->pgoff);
	/* Nothing will move. */
	if (!memory && zuf_extents_find(inode, first, 1U << order, true, &run))
		return check_dirty(inode, &run, first, vmf->pgoff) ?
		       VM_FAULT_SIGBUS :
		       dax_fault(vmf, order, &zuf_write_iomap_ops);
	zuf_extents_block(inode, from, to, true);
	io = get_writable(inode, first, 1U << order, vmf->pgoff);
	if (IS_ERR(io)) {
		ret = order ? VM_FAULT_FALLBACK : vmf_error(PTR_ERR(io));
		goto out;
	}
	ZUF_I(inode)->fault = io;
	ret = memory ? memory_fault(vmf, true) :
		       dax_fault(vmf, order, &zuf_write_iomap_ops);
	io = ZUF_I(inode)->fault;
	ZUF_I(inode)->fault = NULL;
	/* It did not come to that. */
	if (io)
		zuf_put_blocks(inode, io);
out:
	zuf_extents_unblock(inode);
	return ret;
}

static vm_fault_t zuf_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct inode *inode = file_inode(vmf->vma->vm_file);
	vm_fault_t ret;

	if (order && order != PMD_ORDER)
		return VM_FAULT_FALLBACK;
	if (!(vmf->flags & FAULT_FLAG_WRITE) ||
	    !(vmf->vma->vm_flags & VM_SHARED))
		return read_fault(vmf, order);
	sb_start_pagefault(inode->i_sb);
	file_update_time(vmf->vma->vm_file);
	scoped_guard(zuf_invalidate, inode->i_mapping)
		ret = write_fault(vmf, order);
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
	struct zuf_notice *notice;

	if (!atomic_dec_and_test(&ZUF_I(inode)->mappings))
		return;
	notice = zuf_new_notice(ZUF_SB(inode->i_sb), ZUFS_OP_MMAP_CLOSE,
				sizeof(notice->mmap_close));
	notice->mmap_close.zus_ii = ZUF_I(inode)->zus_ii;
	notice->mmap_close.rw = vma->vm_flags & VM_WRITE ? ZUFS_RW_WRITE : 0;
	zuf_tell(notice);
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
	} else if (!daxdev_mapping_supported(vma, dax_dev)) {
		return -EOPNOTSUPP;
	}
	file_accessed(file);
	vma->vm_ops = &zuf_vm_ops;
	zuf_vma_open(vma);
	return 0;
}
