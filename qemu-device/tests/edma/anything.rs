// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever software, the link and the engine's driver do, in whichever order.

use proptest::collection::vec;
use proptest::prelude::*;
use qemu_device::controller::Limits;

use crate::chaos;
use crate::script::{tell, Item, Op, Pick};
use crate::strategies::{action, op};

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    /// After every step the engine and the model agree on every byte and on every register, and no
    /// interrupt is lost.
    #[test]
    fn the_engine_does_what_the_model_does(channels in 1..=4u8, ops in vec(op(), 1..120)) {
        if let Err(error) = tell(channels, &ops) {
            prop_assert!(false, "{}", error);
        }
    }

    /// Registers and lists that make no sense: the engine stays bounded, fair and wakeable.
    #[test]
    fn nonsense_does_no_harm(channels in 1..=8u8, actions in vec(action(), 1..200)) {
        if let Err(error) = chaos::live_through(channels, &actions) {
            prop_assert!(false, "{}", error);
        }
    }
}

/// The script's software once wrote over a link while the engine was behind it and the model before it, or the other
/// way round.
#[test]
fn software_leaves_a_link_alone_that_may_still_be_read() {
    let pick = Pick(0);
    let nothing = |mine| Item::Data {
        mine,
        lie: false,
        rie: false,
        size: 0,
        local: 0,
        remote: 0,
    };
    let back = Item::Link {
        cb: false,
        tcb: true,
        to: Some(0),
    };
    let take = |elements| Op::Take(Limits { elements, bytes: 1 });
    let steps: [(usize, Vec<Op>); 3] = [
        (1, vec![take(1), Op::Perform(0)]),
        (1, vec![take(1), Op::Finish(0)]),
        (
            0,
            vec![take(2), Op::Finish(0), take(1), Op::Finish(0), take(1)],
        ),
    ];
    for (first, steps) in steps {
        let mut ops = vec![Op::Program {
            pick,
            items: vec![nothing(true), back],
            first,
            ring: true,
        }];
        ops.extend(steps);
        ops.push(Op::Extend {
            pick,
            items: vec![nothing(false)],
            ring: false,
        });
        ops.push(Op::Stop(pick));
        tell(1, &ops).unwrap_or_else(|error| panic!("{ops:?}: {error}"));
    }
}
