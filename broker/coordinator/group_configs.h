// The configurations that groups have of their own, as the coordinator of consumer groups needs them:
// immutable, one per revision of the metadata.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "broker/metadata/group_config.h"

namespace millrace::coordinator {

class GroupConfigs {
 public:
  virtual ~GroupConfigs() = default;

  // What holds for the group's members; nothing if it has no configuration of its own.
  virtual std::optional<metadata::GroupConfig> find(std::string_view group) const = 0;
};
using GroupConfigsPtr = std::shared_ptr<const GroupConfigs>;

}  // namespace millrace::coordinator
