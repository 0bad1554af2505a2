// The configurations of groups in a cluster image, as coordinators see them.
#pragma once

#include <functional>
#include <utility>

#include "broker/coordinator/group_configs.h"
#include "broker/metadata/cluster_image.h"

namespace millrace::coordinator {

class ImageGroupConfigs final : public GroupConfigs {
 public:
  // `evaluate` says what a group's own configurations come to on this broker; see metadata::group_config.
  using Evaluate = std::function<metadata::GroupConfig(const metadata::ConfigMap&)>;

  ImageGroupConfigs(metadata::ImagePtr image, Evaluate evaluate)
      : image_(std::move(image)), evaluate_(std::move(evaluate)) {}

  std::optional<metadata::GroupConfig> find(std::string_view group) const override {
    if (image_->all_group_configs().empty()) return std::nullopt;
    const metadata::ConfigMap& configs = image_->group_configs(group);
    if (configs.empty()) return std::nullopt;
    return evaluate_(configs);
  }

 private:
  const metadata::ImagePtr image_;
  const Evaluate evaluate_;
};

}  // namespace millrace::coordinator
