// SPDX-License-Identifier: GPL-2.0-only
/*
 * T1: the memory of a mount as one flat range of blocks.
 *
 * Usually that is persistent memory. Each device of a file system carries the
 * same table of all of them; from whichever was named in mount(2) the others
 * are found, opened exclusively, checked, and laid one after the other in
 * table order.
 */

#include <linux/blkdev.h>
#include <linux/crc16.h>
#include <linux/pfn_t.h>
#include <linux/uuid.h>
#include <linux/vmalloc.h>
#include "zuf.h"

#define MDT_SUMMED_FROM	offsetof(struct md_dev_table, s_version)
#define MDT_SUMMED_TO	offsetof(struct md_dev_table, s_start_dynamic)

static u64 dev_id_blocks(const struct md_dev_id *id)
{
	return le64_to_cpu(id->blocks) & ((1ULL << MD_DEV_NUMA_SHIFT) - 1);
}

static u64 usable_blocks(struct block_device *bdev)
{
	return round_down(bdev_nr_bytes(bdev), ZUFS_ALLOC_ALIGN) >>
	       ZUF_BLOCK_SHIFT;
}

/**
 * zuf_t1_dev - the device that a block is on
 * @t1: memory of the mount
 * @block: number of the block
 *
 * Return: the device, or NULL when there is no such block.
 */
struct zuf_t1_dev *zuf_t1_dev(struct zuf_t1 *t1, u64 block)
{
	for (unsigned int i = 0; i < t1->nr_devs; i++)
		if (block - t1->devs[i].first < t1->devs[i].blocks)
			return &t1->devs[i];
	return NULL;
}

/**
 * zuf_t1_pfn - page frame of a block
 * @t1: memory of the mount
 * @dev: the device that @block is on
 * @block: number of the block
 */
unsigned long zuf_t1_pfn(struct zuf_t1 *t1, struct zuf_t1_dev *dev, u64 block)
{
	void *addr = dev->addr + ((block - dev->first) << ZUF_BLOCK_SHIFT);

	if (t1->is_memory)
		return vmalloc_to_pfn(addr);
	return page_to_pfn(virt_to_page(addr));
}

/**
 * zuf_t1_addr - where the kernel sees what a dpp points at
 * @t1: memory of the mount
 * @dpp: from the server, checked here
 * @len: bytes, which must lie in one block
 *
 * Return: the address, or NULL when the dpp is not a valid one.
 */
void *zuf_t1_addr(struct zuf_t1 *t1, zu_dpp_t dpp, size_t len)
{
	u64 block = dpp >> ZUF_BLOCK_SHIFT;
	size_t offset = offset_in_page(dpp);
	struct zuf_t1_dev *dev;

	if ((dpp & ZUF_DPP_POOL_MASK) || offset + len > ZUF_BLOCK_SIZE)
		return NULL;
	dev = zuf_t1_dev(t1, block);
	if (!dev)
		return NULL;
	return dev->addr + ((block - dev->first) << ZUF_BLOCK_SHIFT) + offset;
}

/* ---- device table ---- */

static __le16 mdt_sum(const struct md_dev_table *mdt)
{
	return cpu_to_le16(crc16(0xffff, (const u8 *)mdt + MDT_SUMMED_FROM,
				 MDT_SUMMED_TO - MDT_SUMMED_FROM));
}

/* What the table says must add up, whoever wrote it. */
static const char *mdt_list_error(const struct md_dev_table *mdt)
{
	const struct md_dev_list *list = &mdt->s_dev_list;
	unsigned int count = le16_to_cpu(list->t1_count);
	u64 total = 0;

	if (!count || count > MD_DEV_MAX)
		return "bad number of devices";
	if (le16_to_cpu(list->id_index) >= count)
		return "bad place in its own table";
	for (unsigned int i = 0; i < count; i++) {
		total += dev_id_blocks(&list->dev_ids[i]);
		for (unsigned int j = 0; j < i; j++)
			if (!memcmp(list->dev_ids[i].uuid,
				    list->dev_ids[j].uuid, 16))
				return "lists a device twice";
	}
	if (total != le64_to_cpu(mdt->s_t1_blocks))
		return "device sizes do not add up";
	return NULL;
}

static const char *mdt_error(const struct md_dev_table *mdt,
			     const struct zuf_fs_type *type)
{
	unsigned int major = le16_to_cpu(mdt->s_version) / MD_MINORS_PER_MAJOR;

	if (le32_to_cpu(mdt->s_magic) != type->rfi.FS_magic)
		return "not a file system of this type";
	if (mdt->s_sum != mdt_sum(mdt))
		return "device table fails its checksum";
	if (major != type->rfi.FS_ver_major)
		return "other major version";
	return mdt_list_error(mdt);
}

/* All copies are the same, but for the place of the device in the list. */
static bool mdt_same(const struct md_dev_table *a, const struct md_dev_table *b)
{
	size_t index = offsetof(struct md_dev_table, s_dev_list.id_index);
	size_t behind = index + sizeof(a->s_dev_list.id_index);

	return !memcmp((u8 *)a + MDT_SUMMED_FROM, (u8 *)b + MDT_SUMMED_FROM,
		       index - MDT_SUMMED_FROM) &&
	       !memcmp((u8 *)a + behind, (u8 *)b + behind,
		       MDT_SUMMED_TO - behind);
}

/* ---- one device ---- */

static void close_dev(struct zuf_t1_dev *dev)
{
	if (dev->dax_dev)
		fs_put_dax(dev->dax_dev, NULL);
	if (dev->bdev_file)
		bdev_fput(dev->bdev_file);
	memset(dev, 0, sizeof(*dev));
}

/* Find where the kernel sees so many pages of a device, from a byte on. */
static long access_dev(struct zuf_t1_dev *dev, u64 from, long pages)
{
	pfn_t pfn;
	long got;
	int id;

	dev->dax_dev = fs_dax_get_by_bdev(dev->bdev, &dev->dax_start, NULL, NULL);
	/* Nor where a flush of CPU caches is not enough (virtio-pmem). */
	if (!dev->dax_dev || !dax_synchronous(dev->dax_dev))
		return -ENODEV;
	id = dax_read_lock();
	got = dax_direct_access(dev->dax_dev, PHYS_PFN(dev->dax_start + from),
				pages, DAX_ACCESS, &dev->addr, &pfn);
	dax_read_unlock(id);
	return got < pages || !pfn_t_has_page(pfn) ? -EIO : 0;
}

/* All of it in one piece. */
static int map_dev(struct zuf_t1_dev *dev, struct fs_context *fc)
{
	long pages = usable_blocks(dev->bdev);
	int err = pages ? access_dev(dev, 0, pages) : -ENOSPC;

	if (err)
		return invalf(fc, "zuf: %pg: %s", dev->bdev,
			      err == -ENOSPC ? "too small" :
			      err == -EIO ? "can not be accessed as memory" :
			      "no synchronous DAX: a pmem namespace in fsdax mode is needed");
	return 0;
}

static const struct md_dev_table *dev_table(struct zuf_t1_dev *dev,
					    const struct zuf_fs_type *type)
{
	u64 offset = type->rfi.dt_offset;

	if ((offset >> ZUF_BLOCK_SHIFT) >= usable_blocks(dev->bdev))
		return NULL;
	return dev->addr + offset;
}

/* ---- the others of a file system ---- */

static bool is_device(struct block_device *bdev, const struct zuf_fs_type *type,
		      const struct md_dev_table *mdt, unsigned int index)
{
	struct zuf_t1_dev dev = { .bdev = bdev };
	const struct md_dev_table *other;
	bool found = false;

	if (!access_dev(&dev, type->rfi.dt_offset, 1)) {
		other = dev.addr;
		found = !memcmp(other->s_uuid, mdt->s_uuid, 16) &&
			le16_to_cpu(other->s_dev_list.id_index) == index &&
			le32_to_cpu(other->s_magic) == type->rfi.FS_magic;
	}
	close_dev(&dev);
	return found;
}

/* Number of the device at a place of the table, 0 when there is none. */
static dev_t find_device(const struct zuf_fs_type *type,
			 const struct md_dev_table *mdt, unsigned int index)
{
	struct class_dev_iter iter;
	struct device *device;
	struct block_device *bdev;
	dev_t found = 0;

	class_dev_iter_init(&iter, &block_class, NULL, NULL);
	while (!found && (device = class_dev_iter_next(&iter))) {
		bdev = dev_to_bdev(device);
		if (blk_queue_dax(bdev_get_queue(bdev)) && bdev_nr_bytes(bdev) &&
		    is_device(bdev, type, mdt, index))
			found = bdev->bd_dev;
	}
	class_dev_iter_exit(&iter);
	return found;
}

static int open_other(struct zuf_t1_dev *dev, struct super_block *sb,
		      const struct zuf_fs_type *type,
		      const struct md_dev_table *mdt, unsigned int index,
		      struct fs_context *fc)
{
	const struct md_dev_id *id = &mdt->s_dev_list.dev_ids[index];
	dev_t number = find_device(type, mdt, index);

	if (!number)
		return invalf(fc, "zuf: device %u (%pUl) of the file system is missing",
			      index, id->uuid);
	dev->bdev_file = bdev_file_open_by_dev(number,
					       sb_open_mode(fc->sb_flags),
					       sb, &fs_holder_ops);
	if (IS_ERR(dev->bdev_file)) {
		int err = PTR_ERR(dev->bdev_file);

		dev->bdev_file = NULL;
		errorf(fc, "zuf: device %u (%pUl): can not be opened: %d", index,
		       id->uuid, err);
		return err;
	}
	dev->bdev = file_bdev(dev->bdev_file);
	return map_dev(dev, fc);
}

static int check_dev(struct zuf_t1_dev *dev, const struct zuf_fs_type *type,
		     const struct md_dev_table *mdt, unsigned int index,
		     struct fs_context *fc)
{
	const struct md_dev_table *own = dev_table(dev, type);
	const char *error = own ? mdt_error(own, type) : "too small";

	if (!error && !mdt_same(own, mdt))
		error = "device table differs from that of the others";
	if (!error && le16_to_cpu(own->s_dev_list.id_index) != index)
		error = "is at another place in the table";
	if (!error && dev_id_blocks(&mdt->s_dev_list.dev_ids[index]) !=
		      usable_blocks(dev->bdev))
		error = "is of another size than the table says";
	return error ? invalf(fc, "zuf: %pg: %s", dev->bdev, error) : 0;
}

/*
 * What the server gets to see of the table says which node each device is on
 * in this machine, whatever it was in that of mkfs.
 */
static void tell_nodes(struct zuf_t1 *t1)
{
	struct md_dev_id *ids = t1->mdt.s_dev_list.dev_ids;
	u64 node;

	for (unsigned int i = 0; i < t1->nr_devs; i++) {
		node = page_to_nid(virt_to_page(t1->devs[i].addr));
		ids[i].blocks = cpu_to_le64(dev_id_blocks(&ids[i]) |
					    node << MD_DEV_NUMA_SHIFT);
	}
	t1->mdt.s_sum = mdt_sum(&t1->mdt);
}

static int open_all(struct zuf_t1 *t1, struct zuf_t1_dev *named,
		    struct super_block *sb, struct zuf_fs_type *type,
		    struct fs_context *fc)
{
	unsigned int named_index = le16_to_cpu(t1->mdt.s_dev_list.id_index);
	struct zuf_t1_dev *dev;
	int err;

	for (unsigned int i = 0; i < t1->nr_devs; i++) {
		dev = &t1->devs[i];
		err = 0;
		if (i == named_index) {
			*dev = *named;
			named->dax_dev = NULL;
		} else {
			err = open_other(dev, sb, type, &t1->mdt, i, fc);
		}
		if (!err)
			err = check_dev(dev, type, &t1->mdt, i, fc);
		if (err)
			return err;
		dev->first = t1->blocks;
		dev->blocks = usable_blocks(dev->bdev);
		t1->blocks += dev->blocks;
	}
	tell_nodes(t1);
	return 0;
}

/* What is looked at is what counts, whoever writes to the device now. */
static int read_table(struct zuf_t1 *t1, struct zuf_t1_dev *named,
		      const struct zuf_fs_type *type, struct fs_context *fc)
{
	const struct md_dev_table *mdt = dev_table(named, type);
	const char *error = "too small";

	if (mdt) {
		t1->mdt = *mdt;
		error = mdt_error(&t1->mdt, type);
	}
	if (error)
		return invalf(fc, "zuf: %pg: %s", named->bdev, error);
	t1->nr_devs = le16_to_cpu(t1->mdt.s_dev_list.t1_count);
	if (!t1->mdt.s_dev_list.t2_count && !t1->mdt.s_t2_blocks)
		return 0;
	errorf(fc, "zuf: %pg: needs block devices behind it (T2): not supported",
	       named->bdev);
	return -EOPNOTSUPP;
}

/**
 * zuf_t1_open - open all devices of a file system
 * @sb: whose s_bdev is one of them
 * @type: what it has to be
 * @fc: for messages
 *
 * Nothing is written to any of them.
 *
 * Return: the memory, to be given to zuf_t1_close(), or an ERR_PTR.
 */
struct zuf_t1 *zuf_t1_open(struct super_block *sb, struct zuf_fs_type *type,
			   struct fs_context *fc)
{
	struct zuf_t1_dev named = { .bdev = sb->s_bdev };
	struct zuf_t1 *t1;
	int err;

	t1 = kzalloc(struct_size(t1, devs, MD_DEV_MAX), GFP_KERNEL);
	if (!t1)
		return ERR_PTR(-ENOMEM);
	err = map_dev(&named, fc) ?:
	      read_table(t1, &named, type, fc) ?:
	      open_all(t1, &named, sb, type, fc);
	close_dev(&named);
	if (!err)
		return t1;
	zuf_t1_close(t1);
	return ERR_PTR(err);
}

/**
 * zuf_t1_alloc - ordinary memory in place of devices
 * @bytes: how much
 * @fc: for messages
 *
 * Return: the memory, to be given to zuf_t1_close(), or an ERR_PTR.
 */
struct zuf_t1 *zuf_t1_alloc(u64 bytes, struct fs_context *fc)
{
	struct md_dev_list *list;
	struct zuf_t1 *t1;

	bytes = round_down(bytes, ZUFS_ALLOC_ALIGN);
	if (!bytes)
		return ERR_PTR(invalf(fc, "zuf: size: at least 2M"));
	t1 = kzalloc(struct_size(t1, devs, 1), GFP_KERNEL);
	if (!t1)
		return ERR_PTR(-ENOMEM);
	t1->devs[0].addr = __vmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!t1->devs[0].addr) {
		kfree(t1);
		return ERR_PTR(-ENOMEM);
	}
	t1->is_memory = true;
	t1->nr_devs = 1;
	t1->blocks = bytes >> ZUF_BLOCK_SHIFT;
	t1->devs[0].blocks = t1->blocks;

	list = &t1->mdt.s_dev_list;
	list->t1_count = cpu_to_le16(1);
	list->dev_ids[0].blocks = cpu_to_le64(t1->blocks);
	t1->mdt.s_t1_blocks = cpu_to_le64(t1->blocks);
	generate_random_uuid(t1->mdt.s_uuid);
	generate_random_uuid(list->dev_ids[0].uuid);
	t1->mdt.s_sum = mdt_sum(&t1->mdt);
	return t1;
}

/**
 * zuf_t1_close - let go of the memory of a mount
 * @t1: the memory, or NULL
 */
void zuf_t1_close(struct zuf_t1 *t1)
{
	if (!t1)
		return;
	if (t1->is_memory)
		vfree(t1->devs[0].addr);
	else
		for (unsigned int i = 0; i < t1->nr_devs; i++)
			close_dev(&t1->devs[i]);
	kfree(t1);
}
