//! A matrix laid out in the order in which the product reads it.

use crate::kernel::panel::Machine;

/// A matrix `[rows][depth]` in blocks of rows; within a block, the rows' values at one depth lie side by side. The last
/// block is filled up with rows of zeros.
#[derive(Debug, Clone)]
pub(in crate::kernel) struct Packed {
    depth: usize,
    block: usize,
    data: Vec<f32>,
}

impl Packed {
    /// Room for a matrix `[rows][depth]`, filled with zeros.
    pub(in crate::kernel) fn zeros(machine: Machine, rows: usize, depth: usize) -> Self {
        let block = machine.block;
        Self { depth, block, data: vec![0.0; rows.next_multiple_of(block) * depth] }
    }

    /// Sets the first `rows` rows from `value(row, depth)`.
    pub(in crate::kernel) fn fill(&mut self, rows: usize, value: impl Fn(usize, usize) -> f32) {
        for (first, block) in (0..rows).step_by(self.block).zip(self.data.chunks_exact_mut(self.depth * self.block)) {
            for (depth, values) in block.chunks_exact_mut(self.block).enumerate() {
                let live = self.block.min(rows - first);
                values.iter_mut().take(live).enumerate().for_each(|(row, to)| *to = value(first + row, depth));
            }
        }
    }

    /// The blocks in order, each `[depth][R]`. `R` is the block size of the machine the matrix was packed for.
    #[inline(always)]
    pub(in crate::kernel) fn blocks<const R: usize>(&self) -> impl Iterator<Item = &[[f32; R]]> {
        self.data.as_chunks().0.chunks_exact(self.depth)
    }
}
