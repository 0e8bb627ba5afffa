//! `/proc/slabinfo`: records of each kind, of the memory manager and of this layer. Source: slabinfo(5); Linux, mm/slab_common.c.

use faultlab_mm::Platform;
use faultlab_mm::slab::Usage;

use super::text::{Left, Out, Right, put};
use crate::Linux;

impl<P: Platform> Linux<'_, P> {
    pub(crate) fn show_slabinfo(&self, out: &mut Out<'_>) {
        put!(out; "slabinfo - version: 2.1\n",
            "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>",
            " : tunables <limit> <batchcount> <sharedfactor>",
            " : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
        for slab in self.memory.slabs().iter().chain(&self.slabs()) {
            show(slab, out);
        }
    }
}

fn show(slab: &Usage, out: &mut Out<'_>) {
    put!(out; Left(slab.name, 17), " ", Right(slab.objects, 6), " ", Right(slab.frames * slab.slots as u64, 6), " ",
        Right(slab.object_bytes as u64, 6), " ", Right(slab.slots as u64, 4), " ", Right(1, 4), " : tunables ",
        Right(0, 4), " ", Right(0, 4), " ", Right(0, 4), " : slabdata ", Right(slab.frames, 6), " ", Right(slab.frames, 6), " ", Right(0, 6), "\n");
}
