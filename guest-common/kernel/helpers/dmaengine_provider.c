// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions of the dmaengine's providers, as functions that Rust can call. See bindgen.mk; the
 * headers are private to drivers/dma, so the module's Kbuild has that directory among its ccflags.
 */

#include <linux/dmaengine.h>
#include <linux/scatterlist.h>
#include "virt-dma.h"

void rust_helper_dma_device_can(struct dma_device *device, enum dma_transaction_type type)
{
	__dma_cap_set(type, &device->cap_mask);
}

enum dma_status rust_helper_dma_cookie_status(struct dma_chan *chan, dma_cookie_t cookie,
					      struct dma_tx_state *state)
{
	return dma_cookie_status(chan, cookie, state);
}

struct scatterlist *rust_helper_sg_dma(struct scatterlist *sg, dma_addr_t *address,
				       unsigned int *length)
{
	*address = sg_dma_address(sg);
	*length = sg_dma_len(sg);
	return sg_next(sg);
}

unsigned long rust_helper_vchan_lock(struct virt_dma_chan *vc)
{
	unsigned long flags;

	spin_lock_irqsave(&vc->lock, flags);
	return flags;
}

void rust_helper_vchan_unlock(struct virt_dma_chan *vc, unsigned long flags)
{
	spin_unlock_irqrestore(&vc->lock, flags);
}

struct dma_async_tx_descriptor *rust_helper_vchan_tx_prep(struct virt_dma_chan *vc,
							  struct virt_dma_desc *vd,
							  unsigned long flags)
{
	return vchan_tx_prep(vc, vd, flags);
}

bool rust_helper_vchan_issue_pending(struct virt_dma_chan *vc)
{
	return vchan_issue_pending(vc);
}

/* With the lock: what was issued after @vd, or first of all. */
struct virt_dma_desc *rust_helper_vchan_issued_after(struct virt_dma_chan *vc,
						     struct virt_dma_desc *vd)
{
	if (!vd)
		return vchan_next_desc(vc);
	if (list_is_last(&vd->node, &vc->desc_issued))
		return NULL;
	return list_next_entry(vd, node);
}

/* With the lock: what was submitted with @cookie and has not ended. */
struct virt_dma_desc *rust_helper_vchan_find(struct virt_dma_chan *vc, dma_cookie_t cookie)
{
	struct virt_dma_desc *vd;

	list_for_each_entry(vd, &vc->desc_submitted, node)
		if (vd->tx.cookie == cookie)
			return vd;
	return vchan_find_desc(vc, cookie);
}

/* With the lock: @vd, which was issued, has ended. */
void rust_helper_vchan_complete(struct virt_dma_desc *vd, enum dmaengine_tx_result result,
				u32 residue)
{
	list_del(&vd->node);
	vd->tx_result.result = result;
	vd->tx_result.residue = residue;
	vchan_cookie_complete(vd);
}

void rust_helper_vchan_cyclic_callback(struct virt_dma_desc *vd)
{
	vchan_cyclic_callback(vd);
}

/* With the lock: all that has not ended is to be freed without a callback, in the order of cookies. */
void rust_helper_vchan_terminate(struct virt_dma_chan *vc)
{
	struct virt_dma_desc *vd, *next;
	LIST_HEAD(head);

	list_splice_tail_init(&vc->desc_issued, &head);
	list_splice_tail_init(&vc->desc_submitted, &head);
	list_for_each_entry_safe(vd, next, &head, node) {
		list_del(&vd->node);
		dma_cookie_complete(&vd->tx);
		vchan_terminate_vdesc(vd);
	}
}

void rust_helper_vchan_synchronize(struct virt_dma_chan *vc)
{
	vchan_synchronize(vc);
}

void rust_helper_vchan_free_chan_resources(struct virt_dma_chan *vc)
{
	vchan_free_chan_resources(vc);
}
