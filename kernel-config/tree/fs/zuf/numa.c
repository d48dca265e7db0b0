// SPDX-License-Identifier: GPL-2.0-only
/*
 * NUMA_MAP: what the server has to know of the machine.
 */

#include <linux/cpumask.h>
#include <linux/topology.h>
#include "zuf.h"

/* Returns how many CPUs it has. */
static unsigned int fill_node(struct zufs_cpu_set *set, int node)
{
	unsigned int bits = min_t(unsigned int, nr_cpu_ids,
				  64 * ARRAY_SIZE(set->bits));

	bitmap_and((unsigned long *)set->bits,
		   cpumask_bits(cpumask_of_node(node)),
		   cpumask_bits(cpu_online_mask), bits);
	return bitmap_weight((unsigned long *)set->bits, bits);
}

static void fill_map(struct zufs_ioc_numa_map *map, unsigned int nodes)
{
	unsigned int node, cpus, first = 0;

	map->possible_nodes = nodes;
	map->possible_cpus = num_possible_cpus();
	map->online_nodes = num_online_nodes();
	map->online_cpus = num_online_cpus();
	for (node = 0; node < nodes; node++) {
		cpus = fill_node(&map->cpu_set_per_node[node], node);
		map->max_cpu_per_node = max(map->max_cpu_per_node, cpus);
		first = node ? first : cpus;
		map->nodes_not_symmetrical |= cpus != first;
	}
}

/**
 * zuf_numa_map - NUMA_MAP
 * @arg: one page
 *
 * Return: 0, -ENOMEM, -EFAULT, -E2BIG for more nodes than fit in a page.
 */
int zuf_numa_map(struct zufs_ioc_numa_map __user *arg)
{
	unsigned int nodes = num_possible_nodes();
	struct zufs_ioc_numa_map *map __free(kfree) = NULL;
	size_t size = struct_size(map, cpu_set_per_node, nodes);

	if (size > PAGE_SIZE)
		return -E2BIG;
	map = kzalloc(size, GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	fill_map(map, nodes);
	return copy_to_user(arg, map, size) ? -EFAULT : 0;
}
