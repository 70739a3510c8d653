// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever software, the link and the engine's driver do, in whichever order.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::chaos;
use crate::script::tell;
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
