// A bundle's model inside an Android app: IREE's runtime, built with the NDK, called from C and from Kotlin by JNI.
// docs/android.md explains it. Link with the CMake targets iree::runtime and, for the parameters,
// iree::modules::io::parameters, iree::io::parameter_index_provider and iree::io::formats::irpa.

#include <jni.h>
#include <stdio.h>
#include <string.h>

#include "iree/io/file_contents.h"
#include "iree/io/file_handle.h"
#include "iree/io/formats/irpa/irpa_parser.h"
#include "iree/io/parameter_index.h"
#include "iree/io/parameter_index_provider.h"
#include "iree/modules/io/parameters/module.h"
#include "iree/runtime/api.h"

typedef struct {
  iree_runtime_instance_t* instance;
  iree_runtime_session_t* session;
} model_t;

static void unmap(void* contents, iree_io_file_handle_primitive_t primitive) {
  iree_io_file_contents_free((iree_io_file_contents_t*)contents);
}

// Adds the arrays of one archive of the bundle to |index|. The file is mapped: its pages are read when they are used,
// shared between processes, and given back when memory is short.
static iree_status_t add_archive(iree_io_parameter_index_t* index, const char* path, iree_allocator_t allocator) {
  iree_io_file_contents_t* contents = NULL;
  IREE_RETURN_IF_ERROR(
      iree_io_file_contents_map(iree_make_cstring_view(path), IREE_IO_FILE_ACCESS_READ, allocator, &contents));
  iree_io_file_handle_release_callback_t release = {unmap, contents};
  iree_io_file_handle_t* file = NULL;
  iree_status_t status = iree_io_file_handle_wrap_host_allocation(IREE_IO_FILE_ACCESS_READ, contents->buffer, release,
                                                                  allocator, &file);
  if (!iree_status_is_ok(status)) {
    iree_io_file_contents_free(contents);
    return status;
  }
  status = iree_io_parse_irpa_index(file, index, allocator);
  iree_io_file_handle_release(file);  // the index keeps what it needs
  return status;
}

// The module that hands the weights to the compiled code; it knows them under the scope "model".
static iree_status_t append_parameters(iree_runtime_instance_t* instance, iree_runtime_session_t* session,
                                       const char* const* archives, int count) {
  iree_allocator_t allocator = iree_runtime_instance_host_allocator(instance);
  iree_io_parameter_index_t* index = NULL;
  iree_io_parameter_provider_t* provider = NULL;
  iree_vm_module_t* module = NULL;
  iree_status_t status = iree_io_parameter_index_create(allocator, &index);
  for (int i = 0; i < count && iree_status_is_ok(status); ++i) status = add_archive(index, archives[i], allocator);
  if (iree_status_is_ok(status)) {
    status = iree_io_parameter_index_provider_create(iree_make_cstring_view("model"), index,
                                                     IREE_IO_PARAMETER_INDEX_PROVIDER_DEFAULT_MAX_CONCURRENT_OPERATIONS,
                                                     allocator, &provider);
  }
  if (iree_status_is_ok(status)) {
    status = iree_io_parameters_module_create(iree_runtime_instance_vm_instance(instance), 1, &provider, allocator,
                                              &module);
  }
  if (iree_status_is_ok(status)) status = iree_runtime_session_append_module(session, module);
  iree_vm_module_release(module);
  iree_io_parameter_provider_release(provider);
  iree_io_parameter_index_release(index);
  return status;
}

void model_close(model_t* model) {
  iree_runtime_session_release(model->session);
  iree_runtime_instance_release(model->instance);
  memset(model, 0, sizeof(*model));
}

// |driver|: "local-sync" runs on the calling thread, "local-task" on workers of its own, "vulkan" on the GPU.
// |module_path| and |archives| are files of the bundle, as its manifest.json names them for the target.
iree_status_t model_open(const char* driver, const char* module_path, const char* const* archives, int count,
                         model_t* out_model) {
  memset(out_model, 0, sizeof(*out_model));
  iree_allocator_t allocator = iree_allocator_system();
  iree_runtime_instance_options_t instance_options;
  iree_runtime_instance_options_initialize(&instance_options);
  iree_runtime_instance_options_use_all_available_drivers(&instance_options);
  IREE_RETURN_IF_ERROR(iree_runtime_instance_create(&instance_options, allocator, &out_model->instance));

  iree_hal_device_t* device = NULL;
  iree_status_t status = iree_runtime_instance_try_create_default_device(out_model->instance,
                                                                         iree_make_cstring_view(driver), &device);
  if (iree_status_is_ok(status)) {
    iree_runtime_session_options_t session_options;
    iree_runtime_session_options_initialize(&session_options);
    status = iree_runtime_session_create_with_device(out_model->instance, &session_options, device, allocator,
                                                     &out_model->session);
  }
  iree_hal_device_release(device);
  // The parameters come first: the module resolves its imports when it is appended.
  if (iree_status_is_ok(status)) status = append_parameters(out_model->instance, out_model->session, archives, count);
  if (iree_status_is_ok(status)) {
    status = iree_runtime_session_append_bytecode_module_from_file(out_model->session, module_path);
  }
  if (!iree_status_is_ok(status)) model_close(out_model);
  return status;
}

// Pushes |bytes| bytes of |data| as a tensor of that shape and element type.
static iree_status_t push(model_t* model, iree_runtime_call_t* call, const void* data, size_t bytes, int rank,
                          const iree_hal_dim_t* shape, iree_hal_element_type_t type) {
  iree_hal_buffer_params_t params = {0};
  params.type = IREE_HAL_MEMORY_TYPE_DEVICE_LOCAL;
  params.usage = IREE_HAL_BUFFER_USAGE_DEFAULT;
  iree_hal_buffer_view_t* view = NULL;
  IREE_RETURN_IF_ERROR(iree_hal_buffer_view_allocate_buffer_copy(
      iree_runtime_session_device(model->session), iree_runtime_session_device_allocator(model->session),
      (iree_host_size_t)rank, shape, type, IREE_HAL_ENCODING_TYPE_DENSE_ROW_MAJOR, params,
      iree_make_const_byte_span(data, bytes), &view));
  iree_status_t status = iree_runtime_call_inputs_push_back_buffer_view(call, view);
  iree_hal_buffer_view_release(view);
  return status;
}

// |inputs| are |count| rows of |tokens| integers, in the order and of the length in manifest.json: shorter sentences
// are padded with zeros, and so is their attention mask. |used| is the number of tokens without the padding: the
// manifest's last input, `token_count`. |out| takes |size| bytes, the whole first output. Calls of one model must not
// overlap.
iree_status_t model_run(model_t* model, const int64_t* inputs, int count, int tokens, int used, void* out,
                        size_t size) {
  iree_runtime_call_t call;
  IREE_RETURN_IF_ERROR(
      iree_runtime_call_initialize_by_name(model->session, iree_make_cstring_view("model.main"), &call));
  iree_status_t status = iree_ok_status();
  const iree_hal_dim_t row[2] = {1, (iree_hal_dim_t)tokens};
  for (int i = 0; i < count && iree_status_is_ok(status); ++i) {
    status = push(model, &call, inputs + (size_t)i * tokens, (size_t)tokens * sizeof(*inputs), 2, row,
                  IREE_HAL_ELEMENT_TYPE_SINT_64);
  }
  const iree_hal_dim_t one[1] = {1};
  const int32_t token_count = used;
  if (iree_status_is_ok(status)) {
    status = push(model, &call, &token_count, sizeof(token_count), 1, one, IREE_HAL_ELEMENT_TYPE_SINT_32);
  }
  if (iree_status_is_ok(status)) status = iree_runtime_call_invoke(&call, /*flags=*/0);
  iree_hal_buffer_view_t* result = NULL;
  if (iree_status_is_ok(status)) status = iree_runtime_call_outputs_pop_front_buffer_view(&call, &result);
  if (iree_status_is_ok(status) && iree_hal_buffer_view_byte_length(result) != size) {
    status = iree_make_status(IREE_STATUS_INVALID_ARGUMENT, "the output has another size");
  }
  if (iree_status_is_ok(status)) {
    status = iree_hal_device_transfer_d2h(iree_runtime_session_device(model->session),
                                          iree_hal_buffer_view_buffer(result), 0, out, size,
                                          IREE_HAL_TRANSFER_BUFFER_FLAG_DEFAULT, iree_infinite_timeout());
  }
  iree_hal_buffer_view_release(result);
  iree_runtime_call_deinitialize(&call);
  return status;
}

// JNI, for `external fun run(handle: Long, inputs: LongArray, count: Int, used: Int, out: FloatArray): Boolean` of
// `class Model` in `package org.example`. The handle is a model_t* that another function made with model_open.
JNIEXPORT jboolean JNICALL Java_org_example_Model_run(JNIEnv* env, jobject self, jlong handle, jlongArray inputs,
                                                      jint count, jint used, jfloatArray out) {
  jsize length = (*env)->GetArrayLength(env, inputs);
  if (count <= 0 || length % count != 0) return JNI_FALSE;
  jlong* ids = (*env)->GetLongArrayElements(env, inputs, NULL);
  jfloat* values = (*env)->GetFloatArrayElements(env, out, NULL);
  jboolean ok = JNI_FALSE;
  if (ids != NULL && values != NULL) {
    size_t size = (size_t)(*env)->GetArrayLength(env, out) * sizeof(jfloat);
    iree_status_t status =
        model_run((model_t*)(intptr_t)handle, (const int64_t*)ids, count, length / count, used, values, size);
    ok = iree_status_is_ok(status) ? JNI_TRUE : JNI_FALSE;
    if (!ok) iree_status_fprint(stderr, status);
    iree_status_free(status);
  }
  if (ids != NULL) (*env)->ReleaseLongArrayElements(env, inputs, ids, JNI_ABORT);
  if (values != NULL) (*env)->ReleaseFloatArrayElements(env, out, values, 0);
  return ok;
}
