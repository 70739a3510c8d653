// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever software, the link and the engine's driver do, in whichever order: after every step the
//! engine and the model agree on every byte and on every register, and no interrupt is lost.

use abi::edma;
use proptest::collection::vec;
use proptest::prelude::*;
use qemu_device::controller::Limits;

use crate::model::State;
use crate::script::{op, Op};
use crate::world::{Verdict, World};

/// More jobs than any list needs that ends.
const LONG: usize = 400;
const LIMITS: Limits = Limits {
    elements: 8,
    bytes: 1 << 20,
};

fn story(channels: u8, ops: &[Op]) -> Verdict {
    let mut world = World::new(channels);
    for (at, op) in ops.iter().enumerate() {
        op.apply(&mut world)
            .map_err(|error| format!("step {at}, {op:x?}: {error}"))?;
    }
    // Lists that go round for ever are stopped.
    if !world.run(LONG, LIMITS)? {
        for (way, number) in world.model.all() {
            if world.model.channel(way, number).state == State::Running {
                let stop = edma::DOORBELL_STOP.mask() | number as u32;
                world.write(way.map().doorbell, stop)?;
            }
        }
        if !world.run(2 * usize::from(channels) + 1, LIMITS)? {
            return Err("stopped, and it goes on".into());
        }
    }
    world.nothing_is_lost()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_engine_does_what_the_model_does(channels in 1..=4u8, ops in vec(op(), 1..120)) {
        if let Err(error) = story(channels, &ops) {
            prop_assert!(false, "{}", error);
        }
    }
}
