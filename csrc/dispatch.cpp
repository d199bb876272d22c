#include "dispatch.h"

namespace basic {

const std::string& simd_name() {
  static const std::string name = "scalar";
  return name;
}

}  // namespace basic
