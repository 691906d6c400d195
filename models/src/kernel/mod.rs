//! Recurrent cells and dense layers on the CPU: forward, one step, and back through time.
