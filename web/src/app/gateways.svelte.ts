/** Every gateway that who looks may see, for the picker and for the pages that make and change them. */
import { GatewaysApi, type GatewayView } from '../core/api/gateways';
import { api } from './console.svelte';
import { Resource } from './resource.svelte';

export const gatewaysApi = new GatewaysApi(api);

export const gateways = new Resource<readonly GatewayView[]>((signal) => gatewaysApi.all(signal));
