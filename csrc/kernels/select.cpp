// Picks the table: the best the processor runs, or the one CONVNET_ISA names.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "../runtime/cpu.h"
#include "kernels.h"

namespace convnet {

void isa_table_baseline(IsaTable&);
#ifdef CONVNET_X86
void isa_table_avx2(IsaTable&);
void isa_table_avx512(IsaTable&);
#endif

namespace {

struct Built {
  Isa isa;
  const char* name;
  void (*fill)(IsaTable&);
};

constexpr Built kBuilt[] = {
    {Isa::baseline, "baseline", isa_table_baseline},
#ifdef CONVNET_X86
    {Isa::avx2, "avx2", isa_table_avx2},
    {Isa::avx512, "avx512", isa_table_avx512},
#endif
};
constexpr int kBuiltCount = sizeof kBuilt / sizeof *kBuilt;

struct Choice {
  const char* names[kBuiltCount + 1] = {};
  IsaTable table;

  Choice() {
    const char* asked = std::getenv("CONVNET_ISA");
    const Built* chosen = nullptr;
    int count = 0;
    for (const Built& built : kBuilt) {
      if (built.isa > best_isa()) break;
      names[count++] = built.name;
      if (!asked || !*asked || std::strcmp(asked, built.name) == 0) chosen = &built;
    }
    if (!chosen) {
      std::string known;
      for (int i = 0; i < count; ++i) known += std::string(i ? ", " : "") + names[i];
      throw std::runtime_error("CONVNET_ISA=" + std::string(asked) + ": this processor and build run " + known);
    }
    chosen->fill(table);
  }
};

const Choice& choice() {
  static const Choice chosen;
  return chosen;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  return choice().table.f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return choice().table.f64;
}

const char* isa_in_use() { return choice().table.name; }
const char* const* isas() { return choice().names; }

}  // namespace convnet
