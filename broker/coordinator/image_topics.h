// The topics of a cluster image, as coordinators see them.
#pragma once

#include <utility>

#include "broker/coordinator/topic_directory.h"
#include "broker/metadata/cluster_image.h"

namespace millrace::coordinator {

class ImageTopics final : public TopicDirectory {
 public:
  explicit ImageTopics(metadata::ImagePtr image) : image_(std::move(image)) {}

  std::optional<Topic> find(std::string_view name) const override { return view(image_->topic(name)); }
  std::optional<Topic> find(const Uuid& id) const override { return view(image_->topic(id)); }
  void for_each(const std::function<void(const Topic&)>& fn) const override {
    image_->topics().for_each([&](const metadata::TopicPtr& topic) { fn(*view(topic)); });
  }
  int64_t version() const override { return image_->revision(); }

 private:
  static std::optional<Topic> view(const metadata::TopicPtr& topic) {
    if (!topic) return std::nullopt;
    return Topic{topic->name, topic->id, static_cast<int32_t>(topic->partitions.size())};
  }

  const metadata::ImagePtr image_;
};

}  // namespace millrace::coordinator
