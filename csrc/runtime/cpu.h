// What the processor can run.
#pragma once

namespace convnet {

// Ordered: a processor that runs one level runs those before it.
enum class Isa { baseline, avx2, avx512 };

Isa best_isa();

}  // namespace convnet
