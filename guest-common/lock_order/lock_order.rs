// SPDX-License-Identifier: GPL-2.0

//! Takes two locks in both orders, one after the other: nothing can go wrong, and a kernel that checks the order of
//! locks reports it. That is its purpose: a suite that loads it knows whether the checker still looks.

use kernel::{new_mutex, prelude::*, sync::Mutex};

module! {
    type: LockOrder,
    name: "lock_order",
    authors: ["spider-pair contributors"],
    description: "Two locks in both orders, to be reported by lockdep",
    license: "GPL",
}

#[pin_data]
struct Locks {
    #[pin]
    first: Mutex<()>,
    #[pin]
    second: Mutex<()>,
}

struct LockOrder;

impl kernel::Module for LockOrder {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let locks = KBox::pin_init(
            pin_init!(Locks {
                first <- new_mutex!((), "lock_order::first"),
                second <- new_mutex!((), "lock_order::second"),
            }),
            GFP_KERNEL,
        )?;
        {
            let _first = locks.first.lock();
            let _second = locks.second.lock();
        }
        let _second = locks.second.lock();
        let _first = locks.first.lock();
        Ok(LockOrder)
    }
}
