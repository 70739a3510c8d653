// SPDX-License-Identifier: GPL-2.0
/* Locks of another driver, which Rust did not make, as functions that Rust can call. See bindgen.mk. */

#include <linux/spinlock.h>

unsigned long rust_helper_raw_spin_lock_irqsave(raw_spinlock_t *lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave(lock, flags);
	return flags;
}

void rust_helper_raw_spin_unlock_irqrestore(raw_spinlock_t *lock, unsigned long flags)
{
	raw_spin_unlock_irqrestore(lock, flags);
}
