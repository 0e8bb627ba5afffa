//! What must not be done to a zone is caught, and told with the frame.

use super::*;

/// E9: a double free is detected.
#[test]
#[should_panic(expected = "frame 1024 freed twice")]
fn a_double_free_is_caught_on_the_per_cpu_list() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    let pfn = zone.rmqueue(&memmap, 0).expect("a frame");
    free(&zone, &memmap, pfn, 0);
    zone.free_one_page(&memmap, pfn, 0);
}

/// E9: a double free is detected.
#[test]
#[should_panic(expected = "frame 1025 freed twice")]
fn a_double_free_is_caught_inside_a_merged_block() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    let frames = [(); 2].map(|()| zone.rmqueue(&memmap, 0).expect("a frame"));
    for pfn in frames {
        free(&zone, &memmap, pfn, 0);
    }
    zone.drain_all_pages(&memmap);
    zone.free_one_page(&memmap, frames[1], 0);
}

#[test]
#[should_panic(expected = "frame 1027 freed twice")]
fn a_double_free_is_caught_inside_a_larger_free() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    let pfn = zone.rmqueue(&memmap, 2).expect("a block");
    free(&zone, &memmap, pfn.offset(3), 0);
    free(&zone, &memmap, pfn, 2);
}

/// E9: so is freeing what somebody refers to.
#[test]
#[should_panic(expected = "frame 1024 freed with 2 references")]
fn a_free_of_a_referenced_frame_is_caught() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    let pfn = zone.rmqueue(&memmap, 0).expect("a frame");
    memmap[pfn.index()].refcount.set(2);
    zone.free_one_page(&memmap, pfn, 0);
}

#[test]
#[should_panic(expected = "frame 1026 heads no block of order 2")]
fn a_free_of_a_misaligned_block_is_caught() {
    let (zone, memmap) = zone_of(&[(1024, 2048)]);
    zone.rmqueue(&memmap, 3);
    zone.free_one_page(&memmap, Pfn(1026), 2);
}

#[test]
#[should_panic(expected = "overlap [1024, 2048)")]
fn ranges_do_not_overlap() {
    zone_of(&[(1024, 2048), (2047, 2049)]);
}

#[test]
#[should_panic(expected = "not frame 0")]
fn frame_0_is_refused() {
    zone_of(&[(0, 2048)]);
}

#[test]
#[should_panic(expected = "past the memory map")]
fn frames_without_entries_are_refused() {
    zone_of(&[(1, FRAMES + 1)]);
}
