// A view of consecutive elements, as messages hold their arrays. Whoever made the elements owns them: the
// arena of a decoded message, or the handler's vector for one to be encoded at once.
#pragma once

#include <cassert>
#include <cstddef>
#include <vector>

namespace millrace {

template <class T>
class Array {
 public:
  Array() = default;
  Array(T* data, size_t size) : data_(data), size_(size) {}
  // The vector must outlive the view and keep its size.
  Array(std::vector<T>& elements) : data_(elements.data()), size_(elements.size()) {}

  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) const {
    assert(i < size_);
    return data_[i];
  }
  T& front() const { return (*this)[0]; }
  T& back() const { return (*this)[size_ - 1]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace millrace
