import { Route, Switch } from "wouter";
import { ExpiryWarning } from "../components/expiry-warning";
import { Data } from "../components/queries";
import { StepUp } from "../components/step-up";
import { Toasts } from "../components/toast";
import { NotFound } from "../pages/refusals";
import { AuditTrail } from "./audit";
import { Branding } from "./branding";
import { Keys } from "./keys";
import { Outbox } from "./outbox";
import { Overview } from "./overview";
import { UserDetail } from "./user";
import { Users } from "./users";
import "../later.css";

export function Console() {
  return (
    <Data>
      <Toasts>
        <ExpiryWarning />
        <StepUp />
        <Switch>
          <Route path="/console" component={Overview} />
          <Route path="/console/users" component={Users} />
          <Route path="/console/users/:id">{({ id }) => <UserDetail key={id} id={id} />}</Route>
          <Route path="/console/audit" component={AuditTrail} />
          <Route path="/console/outbox" component={Outbox} />
          <Route path="/console/service" component={Keys} />
          <Route path="/console/service/branding" component={Branding} />
          <Route component={NotFound} />
        </Switch>
      </Toasts>
    </Data>
  );
}
