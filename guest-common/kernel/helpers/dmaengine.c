// SPDX-License-Identifier: GPL-2.0
/* Inline functions of the dmaengine's consumers, as functions that Rust can call. See bindgen.mk. */

#include <linux/dmaengine.h>
#include <linux/scatterlist.h>

void rust_helper_dma_cap_set(enum dma_transaction_type type, dma_cap_mask_t *mask)
{
	__dma_cap_set(type, mask);
}

void rust_helper_sg_set_dma(struct scatterlist *sg, dma_addr_t address, unsigned int length)
{
	sg_dma_address(sg) = address;
	sg_dma_len(sg) = length;
}

int rust_helper_dmaengine_slave_config(struct dma_chan *chan, struct dma_slave_config *config)
{
	return dmaengine_slave_config(chan, config);
}

struct dma_async_tx_descriptor *
rust_helper_dmaengine_prep_slave_sg(struct dma_chan *chan, struct scatterlist *sgl,
				    unsigned int sg_len, enum dma_transfer_direction dir,
				    unsigned long flags)
{
	return dmaengine_prep_slave_sg(chan, sgl, sg_len, dir, flags);
}

struct dma_async_tx_descriptor *
rust_helper_dmaengine_prep_dma_cyclic(struct dma_chan *chan, dma_addr_t address, size_t length,
				      size_t period, enum dma_transfer_direction dir,
				      unsigned long flags)
{
	return dmaengine_prep_dma_cyclic(chan, address, length, period, dir, flags);
}

dma_cookie_t rust_helper_dmaengine_submit(struct dma_async_tx_descriptor *desc)
{
	return dmaengine_submit(desc);
}

void rust_helper_dma_async_issue_pending(struct dma_chan *chan)
{
	dma_async_issue_pending(chan);
}

int rust_helper_dmaengine_pause(struct dma_chan *chan)
{
	return dmaengine_pause(chan);
}

int rust_helper_dmaengine_resume(struct dma_chan *chan)
{
	return dmaengine_resume(chan);
}

int rust_helper_dmaengine_terminate_sync(struct dma_chan *chan)
{
	return dmaengine_terminate_sync(chan);
}

enum dma_status rust_helper_dmaengine_tx_status(struct dma_chan *chan, dma_cookie_t cookie,
						struct dma_tx_state *state)
{
	return dmaengine_tx_status(chan, cookie, state);
}
