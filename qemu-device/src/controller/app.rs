// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Renesas's registers around the controller: mode, reset and LTSSM, interrupt enables.

use abi::app as layout;
use serde_json::{json, Value};

use super::access::Write;

/// The "app" window.
#[derive(Clone, Debug)]
pub struct App {
    mode: u32,
    reset_control: u32,
    power_management: u32,
    interrupt_enable: u32,
    dma_interrupt_enable: u32,
    axi_intc_address: u32,
    axi_intc_control: u32,
}

impl App {
    /// As after power-on.
    pub const fn new() -> Self {
        Self {
            mode: 0,
            // Inferred: the driver clears the bit at the first start and never sets it again.
            reset_control: layout::HOLD_PHY_RESET.mask(),
            power_management: 0,
            interrupt_enable: 0,
            dma_interrupt_enable: 0,
            axi_intc_address: 0,
            axi_intc_control: 0,
        }
    }

    /// Power-on reset.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The register at `offset`.
    pub fn read(&self, offset: u32, link_up: bool) -> Option<u32> {
        Some(match offset {
            layout::MODE_SETTING_0 => self.mode,
            layout::RESET_CONTROL_1 => self.reset_control,
            layout::POWER_MANAGEMENT => self.power_management,
            layout::INTERRUPT_STATUS_0 if link_up => {
                layout::SMLH_LINK_UP.mask() | layout::RDLH_LINK_UP.mask()
            }
            layout::INTERRUPT_STATUS_0 => 0,
            layout::INTERRUPT_ENABLE_0 => self.interrupt_enable,
            layout::DMA_INTERRUPT_ENABLE => self.dma_interrupt_enable,
            layout::AXI_INTC_ADDRESS => self.axi_intc_address,
            layout::AXI_INTC_CONTROL => self.axi_intc_control,
            _ => return None,
        })
    }

    /// Writes the register at `offset`; `None` if there is none.
    pub fn write(&mut self, offset: u32, write: Write) -> Option<()> {
        let (register, writable) = match offset {
            layout::MODE_SETTING_0 => (
                &mut self.mode,
                layout::BIFURCATION.mask() | layout::SRIS_MODE.mask(),
            ),
            layout::RESET_CONTROL_1 => (
                &mut self.reset_control,
                layout::LTSSM_ENABLE.mask() | layout::HOLD_PHY_RESET.mask(),
            ),
            layout::POWER_MANAGEMENT => (&mut self.power_management, u32::MAX),
            // The link bits follow the link; the others never rise here.
            layout::INTERRUPT_STATUS_0 => return Some(()),
            layout::INTERRUPT_ENABLE_0 => (&mut self.interrupt_enable, u32::MAX),
            layout::DMA_INTERRUPT_ENABLE => (
                &mut self.dma_interrupt_enable,
                layout::DMA_INTERRUPTS.mask(),
            ),
            layout::AXI_INTC_ADDRESS => (&mut self.axi_intc_address, u32::MAX),
            layout::AXI_INTC_CONTROL => (&mut self.axi_intc_control, u32::MAX),
            _ => return None,
        };
        *register = write.onto(*register, writable);
        Some(())
    }

    /// Whether the LTSSM may train. The other board is always there and ready, so this *is* the
    /// link (`r8a779f0_pcie_ltssm_control`).
    pub const fn link_enabled(&self) -> bool {
        layout::LTSSM_ENABLE.is_set(self.reset_control)
            && !layout::HOLD_PHY_RESET.is_set(self.reset_control)
    }

    /// Whether the eDMA's interrupt line passes on to the CPU. Which bit belongs to which channel
    /// is not stated by the driver, which sets all or none of them; any bit opens the gate.
    pub const fn passes_dma_interrupt(&self) -> bool {
        layout::DMA_INTERRUPTS.is_set(self.dma_interrupt_enable)
    }

    /// The tree that `inspect` shows.
    pub fn inspect(&self) -> Value {
        json!({
            "mode": self.mode,
            "ltssm_enabled": layout::LTSSM_ENABLE.is_set(self.reset_control),
            "phy_held_in_reset": layout::HOLD_PHY_RESET.is_set(self.reset_control),
            "dma_interrupt_enable": format!("{:#x}", self.dma_interrupt_enable),
        })
    }
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}
