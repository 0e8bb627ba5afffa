//! Rules D1 to D3: the encoding, and what may be stored.

use super::*;
use crate::error::Error;

#[test]
fn d1_tags_tell_pages_values_and_internal_entries() {
    assert_eq!(page(0x1234).bits(), 0x123_4000);
    assert_eq!(Entry::value(5).bits(), 11);
    assert_eq!(Entry::value((1 << 63) - 1).bits(), u64::MAX);
    for value in [0, 1, 2, 3, 1 << 62, (1 << 63) - 1] {
        let entry = Entry::value(value);
        assert_eq!(
            (entry.as_value(), entry.as_page(), entry.as_node()),
            (Some(value), None, None)
        );
        assert!(entry.is_value() && !entry.is_internal() && !entry.is_null());
    }
    for pfn in [1, 2, 0x8_0000, u32::MAX] {
        let entry = page(pfn);
        assert_eq!(
            (entry.as_value(), entry.as_page(), entry.as_node()),
            (None, Some(Pfn(pfn)), None)
        );
        assert!(!entry.is_value() && !entry.is_internal() && !entry.is_null());
    }
    assert!(Entry::NULL.is_null() && Entry::NULL.as_page().is_none());
}

#[test]
fn d2_internal_entries_are_siblings_specials_or_nodes() {
    for offset in 0..63 {
        assert_eq!(Entry::sibling(offset).as_sibling(), Some(offset));
        assert_eq!(Entry::sibling(offset).as_node(), None);
    }
    assert_eq!((Entry::RETRY.bits(), Entry::ZERO.bits()), (256 << 2 | 2, 257 << 2 | 2));
    for special in [Entry::RETRY, Entry::ZERO, Entry::from_bits(63 << 2 | 2)] {
        assert!(special.is_internal() && special.as_sibling().is_none() && special.as_node().is_none());
    }
    // "Above 4096": the smallest node is 1024 << 2 | 2.
    assert_eq!(Entry::from_bits(4094).as_node(), None);
    for number in [NodeId::MIN, NodeId::MIN + 1, 0x7fff_ffff, 0x8000_0000, NodeId::MAX] {
        let id = NodeId(ObjId::from_u32(number).unwrap());
        assert_eq!(Entry::node(id).bits(), u64::from(number) << 2 | 2);
        assert_eq!(
            (Entry::node(id).as_node(), Entry::node(id).as_sibling()),
            (Some(id), None)
        );
    }
    assert_eq!(Entry::from_bits((u64::from(NodeId::MAX) + 1) << 2 | 2).as_node(), None);
}

#[test]
fn d2_special_entries_read_as_null() {
    let owned = Owned::new();
    owned.store(1, page(1));
    let (leaf, before) = (owned.node_at(&[]), owned.snapshot());
    for special in [Entry::ZERO, Entry::RETRY] {
        leaf.set_slot(5, special);
        assert_eq!(owned.load(5), Entry::NULL);
        assert_eq!(owned.entries(Filter::Any), [(1, page(1))]);
        leaf.set_slot(5, Entry::NULL);
    }
    assert_eq!(owned.snapshot(), before);
}

#[test]
fn d3_null_erases_and_internal_entries_are_refused() {
    let owned = Owned::new();
    assert_eq!(owned.store(7, Entry::NULL), Entry::NULL);
    assert_eq!(owned.store(7, page(7)), Entry::NULL);
    let before = owned.snapshot();
    for internal in [Entry::sibling(3), Entry::RETRY, Entry::ZERO, owned.array().head()] {
        assert_eq!(owned.array().store(&owned.nodes, 7, internal), Err(Error::Einval));
        assert_eq!(
            owned.array().store_order(&owned.nodes, 7, 3, internal),
            Err(Error::Einval)
        );
        assert_eq!(owned.array().insert(&owned.nodes, 8, internal), Err(Error::Einval));
        assert_eq!(
            owned.array().cmpxchg(&owned.nodes, 7, page(7), internal),
            Err(Error::Einval)
        );
        assert_eq!(
            super::super::Cursor::new(owned.array(), &owned.nodes, 7).store(internal),
            Err(Error::Einval)
        );
    }
    assert_eq!(owned.snapshot(), before);
    assert_eq!(owned.store(7, Entry::value(9)), page(7));
    assert_eq!(owned.store(7, Entry::NULL), Entry::value(9));
    assert!(owned.array().is_empty());
}
