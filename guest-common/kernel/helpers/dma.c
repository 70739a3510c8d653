// SPDX-License-Identifier: GPL-2.0
/* Inline functions of the DMA API, as functions that Rust can call. See bindgen.mk. */

#include <linux/dma-mapping.h>

int rust_helper_dma_mapping_error(struct device *dev, dma_addr_t address)
{
	return dma_mapping_error(dev, address);
}
