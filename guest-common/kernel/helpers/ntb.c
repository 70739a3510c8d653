// SPDX-License-Identifier: GPL-2.0
/* Inline functions of the NTB core's clients, as functions that Rust can call. See bindgen.mk. */

#include <linux/ntb.h>

int rust_helper_ntb_port_number(struct ntb_dev *ntb)
{
	return ntb_port_number(ntb);
}

u64 rust_helper_ntb_link_is_up(struct ntb_dev *ntb)
{
	return ntb_link_is_up(ntb, NULL, NULL);
}

int rust_helper_ntb_link_enable(struct ntb_dev *ntb)
{
	return ntb_link_enable(ntb, NTB_SPEED_AUTO, NTB_WIDTH_AUTO);
}

int rust_helper_ntb_link_disable(struct ntb_dev *ntb)
{
	return ntb_link_disable(ntb);
}

int rust_helper_ntb_mw_count(struct ntb_dev *ntb, int peer)
{
	return ntb_mw_count(ntb, peer);
}

int rust_helper_ntb_mw_get_align(struct ntb_dev *ntb, int peer, int mw, resource_size_t *address,
				 resource_size_t *size, resource_size_t *max)
{
	return ntb_mw_get_align(ntb, peer, mw, address, size, max);
}

int rust_helper_ntb_mw_set_trans(struct ntb_dev *ntb, int peer, int mw, dma_addr_t address,
				 resource_size_t size)
{
	return ntb_mw_set_trans(ntb, peer, mw, address, size);
}

int rust_helper_ntb_mw_clear_trans(struct ntb_dev *ntb, int peer, int mw)
{
	return ntb_mw_clear_trans(ntb, peer, mw);
}

u64 rust_helper_ntb_db_valid_mask(struct ntb_dev *ntb)
{
	return ntb_db_valid_mask(ntb);
}

u64 rust_helper_ntb_db_vector_mask(struct ntb_dev *ntb, int vector)
{
	return ntb_db_vector_mask(ntb, vector);
}

u64 rust_helper_ntb_db_read(struct ntb_dev *ntb)
{
	return ntb_db_read(ntb);
}

int rust_helper_ntb_db_clear(struct ntb_dev *ntb, u64 bits)
{
	return ntb_db_clear(ntb, bits);
}

int rust_helper_ntb_db_clear_mask(struct ntb_dev *ntb, u64 bits)
{
	return ntb_db_clear_mask(ntb, bits);
}

int rust_helper_ntb_peer_db_set(struct ntb_dev *ntb, u64 bits)
{
	return ntb_peer_db_set(ntb, bits);
}

int rust_helper_ntb_spad_count(struct ntb_dev *ntb)
{
	return ntb_spad_count(ntb);
}

u32 rust_helper_ntb_spad_read(struct ntb_dev *ntb, int spad)
{
	return ntb_spad_read(ntb, spad);
}

int rust_helper_ntb_spad_write(struct ntb_dev *ntb, int spad, u32 value)
{
	return ntb_spad_write(ntb, spad, value);
}

u32 rust_helper_ntb_peer_spad_read(struct ntb_dev *ntb, int peer, int spad)
{
	return ntb_peer_spad_read(ntb, peer, spad);
}

int rust_helper_ntb_peer_spad_write(struct ntb_dev *ntb, int peer, int spad, u32 value)
{
	return ntb_peer_spad_write(ntb, peer, spad, value);
}

struct device *rust_helper_ntb_get_dma_dev(struct ntb_dev *ntb)
{
	return ntb_get_dma_dev(ntb);
}
