// SPDX-License-Identifier: GPL-2.0
/* Message-signalled interrupts as their devices send them, for Rust. See bindgen.mk. */

#include <linux/irq.h>
#include <linux/msi.h>

/*
 * What a device has to write, and where, to raise interrupt @irq. The vectors of a multi-message MSI
 * have one descriptor; its message is the first one's, and the others' data follow.
 */
bool rust_helper_irq_msi_message(unsigned int irq, u64 *address, u32 *data)
{
	struct msi_desc *desc = irq_get_msi_desc(irq);

	if (!desc || irq < desc->irq)
		return false;
	*address = (u64)desc->msg.address_hi << 32 | desc->msg.address_lo;
	*data = desc->msg.data + (irq - desc->irq);
	return true;
}
