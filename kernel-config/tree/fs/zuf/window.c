// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window of a ZT, where application pages are mapped: a VM_LOCAL_CPU
 * mapping, or, to measure what that is good for (zuf.local_cpu=0), an ordinary
 * one, whose pages come with locks and go with interprocessor interrupts.
 */

#include <linux/moduleparam.h>
#include "zuf.h"

static bool local_cpu = true;
module_param(local_cpu, bool, 0644);
MODULE_PARM_DESC(local_cpu, "map application pages with local invalidation only (affects threads that start later)");

static void local_detached(struct vm_local_cpu *local)
{
	struct zuf_window *window = container_of(local, struct zuf_window,
						 local);

	window->gone(window);
}

/**
 * zuf_window_init - prepare a window for the current thread
 * @window: zeroed
 * @file: the file that will be mapped
 * @cpu: that the thread is bound to
 * @gone: called when the mapping goes, mmap_lock held
 */
void zuf_window_init(struct zuf_window *window, struct file *file, int cpu,
		     void (*gone)(struct zuf_window *window))
{
	window->is_local = READ_ONCE(local_cpu);
	window->file = file;
	window->gone = gone;
	mutex_init(&window->local.lock);
	window->local.owner = current;
	window->local.cpu = cpu;
	window->local.detached = local_detached;
}

/* ---- the ordinary mapping ---- */

static void plain_close(struct vm_area_struct *vma)
{
	struct zuf_window *window = vma->vm_private_data;

	WRITE_ONCE(window->plain_start, 0);
	window->gone(window);
}

static vm_fault_t plain_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static int plain_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static const struct vm_operations_struct plain_vm_ops = {
	.close		= plain_close,
	.fault		= plain_fault,
	.pfn_mkwrite	= plain_fault,
	.may_split	= plain_may_split,
};

static int plain_setup(struct zuf_window *window, struct vm_area_struct *vma)
{
	if (window->plain_start)
		return -EBUSY;
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTCOPY |
			  VM_DONTDUMP);
	vma->vm_ops = &plain_vm_ops;
	vma->vm_private_data = window;
	WRITE_ONCE(window->plain_start, vma->vm_start);
	return 0;
}

static int plain_map(struct zuf_window *window, struct page **pages,
		     unsigned int count, bool writable)
{
	pgprot_t prot = vm_get_page_prot(VM_SHARED | VM_READ |
					 (writable ? VM_WRITE : 0));
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	unsigned long addr;
	int err = -ENXIO;

	mmap_read_lock(mm);
	addr = window->plain_start;
	vma = addr ? vma_lookup(mm, addr) : NULL;
	if (vma && vma->vm_private_data == window) {
		err = 0;
		for (unsigned int i = 0; i < count && !err; i++)
			if (vmf_insert_pfn_prot(vma, addr + i * PAGE_SIZE,
						page_to_pfn(pages[i]), prot) !=
			    VM_FAULT_NOPAGE)
				err = -ENOMEM;
	}
	mmap_read_unlock(mm);
	return err;
}

/* ---- both ---- */

int zuf_window_setup(struct zuf_window *window, struct vm_area_struct *vma)
{
	return window->is_local ? vm_local_cpu_setup(&window->local, vma) :
				  plain_setup(window, vma);
}

/**
 * zuf_window_ready - is it mapped
 * @window: the window
 */
bool zuf_window_ready(struct zuf_window *window)
{
	if (window->is_local)
		return READ_ONCE(window->local.vma);
	return READ_ONCE(window->plain_start);
}

/**
 * zuf_window_map - map pages from the start of the window on
 * @window: of the current thread
 * @pages: what to map
 * @count: how many
 * @writable: may the server change them
 *
 * Return: 0 or -errno; pages may be mapped all the same then.
 */
int zuf_window_map(struct zuf_window *window, struct page **pages,
		   unsigned int count, bool writable)
{
	return window->is_local ?
	       vm_local_cpu_map(&window->local, 0, pages, count, writable) :
	       plain_map(window, pages, count, writable);
}

/**
 * zuf_window_zap - take all pages away, from wherever
 * @window: the window
 * @instead: page that the server, which may still be at work, sees in their
 *	place
 */
void zuf_window_zap(struct zuf_window *window, struct page *instead)
{
	if (window->is_local)
		vm_local_cpu_zap(&window->local, instead);
	else
		unmap_mapping_range(window->file->f_mapping, 0,
				    ZUF_WINDOW_SIZE, 1);
}

/**
 * zuf_window_unmap - take pages away from the current thread
 * @window: of the current thread
 * @count: how many, from the start
 */
void zuf_window_unmap(struct zuf_window *window, unsigned int count)
{
	if (!count)
		return;
	if (!window->is_local)
		unmap_mapping_range(window->file->f_mapping, 0,
				    (loff_t)count << PAGE_SHIFT, 1);
	/* Pushed off its CPU: then not only this CPU has to forget. */
	else if (vm_local_cpu_unmap(&window->local, 0, count) == -EXDEV)
		vm_local_cpu_zap(&window->local, NULL);
}
